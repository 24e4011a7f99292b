//! The trace of `--trace`: see [`trace_start`].
//!
//! Without `--trace` each wrapper only asks whether there is a trace: no system call, no text.

use crate::error::{program, write_line};
use crate::retry::Blocking;
use crate::sock_diag::{self, find};
use crate::sockfd::{Ends, Sockfd};
use crate::tcp_state::{TcpState, tcp_info};
use nix::unistd::close;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Debug, Display};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{process, thread};

static ON: AtomicBool = AtomicBool::new(false);

/// Under a trace, the open sockets by their descriptors, each with the ends of its connection: in
/// TIME_WAIT an open socket does not know its peer any more.
static OPEN: Mutex<BTreeMap<RawFd, Option<Ends>>> = Mutex::new(BTreeMap::new());

/// Starts the trace, in this process and in the children that it will fork: each call of the
/// listings, and the TCP state of its socket (TCP状态转换图).
///
/// Each event is one line on standard error: the time, the process, the state of the socket, the
/// call with its result. The time is in seconds since 1970, as `tcpdump -tt` and `strace -ttt` print
/// it, so the lines of both programs and theirs can be sorted together. If nobody reads standard error
/// and it is full, a line waits, and so does its process.
///
/// ```text
/// 1764044103.743382 tcpcli[4711]    CLOSED      connect(3, 127.0.0.1:9877) = 0
/// 1764044103.743468 tcpcli[4711]    ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877
/// ```
///
/// The state comes from the kernel, and the socket was in it by the line's time. connect, Writen,
/// shutdown and close send a segment: their line has the time and the state from before the call, so
/// that a cause stands before its effect. The parent's fork has its time from before the call, too. All
/// other lines have both from after it. When connect, Writen or shutdown has changed the state, the new
/// state is a line of its own.
///
/// `2 in its queue` are complete connections of a listening socket that accept has not taken yet.
/// `holds 3 LISTEN, 4 ESTABLISHED` are the open sockets of the process. (Sockets that were made before
/// trace_start may be missing.)
///
/// A process cannot print what its own exit does. So under a trace [`exit`](crate::exit) and
/// [`_exit`](crate::_exit) close the sockets of the process themselves, and print each state that
/// follows, for one second at most after each close.
pub fn trace_start() {
    ON.store(true, Ordering::Relaxed);
}

pub(crate) fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// `trace!(sockfd, result, "call({sockfd})")`: see [`returned`].
macro_rules! trace {
    ($sockfd:expr, $result:expr, $($call:tt)*) => {
        crate::trace::returned($sockfd, &$result, format_args!($($call)*))
    };
}
pub(crate) use trace;

/// The result of a call as C shows it: `3`, or `-1, Connection refused (os error 111)`.
fn shown(result: &Result<impl Debug, impl Display>) -> String {
    match result {
        Ok(value) => format!("{value:?}").replace("()", "0"), // Rust's () is C's 0
        Err(why) => format!("-1, {why}"),
    }
}

/// Prints a call that has returned, on a socket or on none.
pub(crate) fn returned<'a>(
    sockfd: impl Into<Option<&'a Sockfd>>,
    result: &Result<impl Debug, impl Display>,
    call: Arguments,
) {
    if on() {
        let sockfd = sockfd.into();
        // The state before the time: so the socket was in this state by then.
        let state = sockfd.map_or(TcpState::UNKNOWN, state);
        let mut text = format!("{call} = {}", shown(result));
        if let (Some(listenfd), TcpState::LISTEN, Ok(_)) = (sockfd, state, result) {
            let info = tcp_info(listenfd.number());
            text += &format!(", {} in its queue", info.tcpi_unacked); // of a listening socket it is this
        }
        event(SystemTime::now(), state, text);
    }
}

/// Makes a call that sends a segment, and prints it with the time and the state before it; then the
/// state after it, if that is another one.
pub(crate) fn sends<T: Debug>(
    sockfd: &Sockfd,
    text: Arguments,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if !on() {
        return call();
    }
    let was = state(sockfd);
    let result = timed(was, text, call);
    if state(sockfd) != was {
        print_state(sockfd);
    }
    result
}

/// Makes a call, and prints it with the time before it.
fn timed<T: Debug>(
    state: TcpState,
    text: Arguments,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let when = SystemTime::now();
    let result = call();
    event(when, state, format_args!("{text} = {}", shown(&result)));
    result
}

/// Makes a close, and prints it, and what the process still holds.
pub(crate) fn closes(sockfd: &Sockfd, close: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if !on() {
        return close();
    }
    let closed = timed(state(sockfd), format_args!("close({sockfd})"), close);
    let _ = OPEN.lock().map(|mut open| open.remove(&sockfd.number()));
    print(holds());
    closed
}

/// The state of a socket, which is noted as open.
fn state(sockfd: &Sockfd) -> TcpState {
    let (number, ends) = (sockfd.number(), sockfd.ends());
    let _ = OPEN.lock().map(|mut open| open.insert(number, ends));
    sock_diag::state(number, ends)
}

/// Prints the state of a connection: `ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877`.
pub(crate) fn print_state(sockfd: &Sockfd) {
    if let Some(ends) = on().then(|| sockfd.ends()).flatten() {
        let state = state(sockfd);
        event(SystemTime::now(), state, addresses(sockfd.number(), ends));
    }
}

fn addresses(number: RawFd, (local, peer): Ends) -> String {
    format!("{number}: {local} to {peer}")
}

/// The open sockets, each with the ends of its connection.
fn sockets() -> BTreeMap<RawFd, Option<Ends>> {
    OPEN.lock().map(|open| open.clone()).unwrap_or_default()
}

/// What this process holds: `holds 3 LISTEN, 4 ESTABLISHED`.
pub(crate) fn holds() -> String {
    let each = sockets().into_iter();
    let each = each.map(|(fd, ends)| format!(" {fd} {}", sock_diag::state(fd, ends).name()));
    match each.collect::<Vec<_>>().join(",").as_str() {
        "" => "holds no socket".to_owned(),
        sockets => format!("holds{sockets}"),
    }
}

/// For `exit` and `_exit`, under a trace: closes the open sockets, as the process's exit would, and
/// prints that, and each state that follows.
pub(crate) fn exits(call: Arguments) {
    if !on() {
        return;
    }
    print(format_args!("{call}, {}", holds()));
    for (number, ends) in sockets() {
        let (state, in_table) = (sock_diag::state(number, ends), ends.map(find));
        let close = || close(number).map_err(io::Error::from);
        let _ = timed(state, format_args!("close({number})"), close);
        match ends.filter(|_| !is_last(state)) {
            Some(_) if matches!(in_table, Some(TcpState::UNKNOWN | TcpState::CLOSED)) => {
                print("which state follows is not known: the kernel's table (sock_diag) has none");
            }
            Some(ends) => watch(number, ends),
            None => {}
        }
    }
}

/// Prints each new state of a closed connection, until it is in TIME_WAIT or gone, or for one
/// second if the peer sends no FIN.
fn watch(number: RawFd, ends: Ends) {
    let end = Instant::now() + Duration::from_secs(1);
    let mut printed = TcpState::UNKNOWN;
    while Instant::now() < end && !is_last(printed) {
        let state = find(ends);
        if state != printed {
            event(SystemTime::now(), state, addresses(number, ends));
            printed = state;
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// Whether no other state follows, but for CLOSED after TIME_WAIT.
fn is_last(state: TcpState) -> bool {
    [TcpState::TIME_WAIT, TcpState::CLOSED].contains(&state)
}

/// Prints what is not about one socket. A signal handler may call it.
pub(crate) fn print(text: impl Display) {
    if on() {
        event(SystemTime::now(), TcpState::UNKNOWN, text);
    }
}

/// Writes the line of an event. A signal handler may call it.
pub(crate) fn event(when: SystemTime, state: TcpState, text: impl Display) {
    let since = when.duration_since(SystemTime::UNIX_EPOCH);
    let (seconds, micros) = since.map_or((0, 0), |time| (time.as_secs(), time.subsec_micros()));
    let (program, pid, state) = (program(), process::id(), state.name());
    write_line(
        format_args!("{seconds}.{micros:06} {program}[{pid}]\t{state:11} {text}"),
        |line| Blocking(io::stderr()).write(line),
    );
}
