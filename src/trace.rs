//! The trace of `--trace`: see [`trace_start`].
//!
//! Without `--trace` each wrapper only asks whether there is a trace: no system call, no text.

use crate::error::{program, write_line};
use crate::retry::Blocking;
use crate::sock_diag::{self, find};
use crate::sockfd::{Ends, Sockfd};
use crate::tcp_state::{TcpState, complete_connections, is_tcp};
use nix::unistd::close;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Display};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, process, thread};

static ON: AtomicBool = AtomicBool::new(false);

/// The connections, by their descriptors: in TIME_WAIT an open socket does not know its peer any more.
static CONNECTIONS: Mutex<BTreeMap<RawFd, Ends>> = Mutex::new(BTreeMap::new());

/// Starts the trace, in this process and in the children that it will fork: each call of the
/// listings, and the TCP state of its socket (TCP状态转换图).
///
/// Each event is one line on standard error: the time, the process, the state of the socket, the
/// call with its result. The time is in seconds since 1970, as `tcpdump -tt` and `strace -ttt` print
/// it, so the lines of both programs and theirs can be sorted together.
///
/// ```text
/// 1764044103.743382 tcpcli[4711]    CLOSED      connect(3, 127.0.0.1:9877) = 0
/// 1764044103.743468 tcpcli[4711]    ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877
/// ```
///
/// The state comes from the kernel, and the socket was in it by the line's time. For connect, Writen,
/// shutdown and close, which send a segment, time and state are from before the call, and so is the
/// time of fork in the parent; for the other calls, from after. When a call that sends has changed the
/// state, the new state is a line of its own. So a cause stands before its effect.
///
/// A process cannot print what its own exit does. So under a trace [`exit`](crate::exit) and
/// [`_exit`](crate::_exit) close the sockets of the process themselves, and print each state that
/// follows, for one second at most.
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

/// What a call returns when it succeeds, as C shows it.
pub(crate) trait Returned {
    fn shown(&self) -> String;
}

impl Returned for () {
    fn shown(&self) -> String {
        "0".to_owned()
    }
}

macro_rules! shown_as_it_is {
    ($($t:ty),*) => { $(impl Returned for $t { fn shown(&self) -> String { self.to_string() } })* };
}
shown_as_it_is!(usize, &Sockfd);

impl Returned for Option<usize> {
    fn shown(&self) -> String {
        self.map_or("NULL".to_owned(), |n| n.to_string())
    }
}

/// The result of a call: `3`, or `-1, Connection refused (os error 111)`.
fn shown<T: Returned, E: Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(value) => value.shown(),
        Err(why) => format!("-1, {why}"),
    }
}

/// Prints a call that has returned, on a socket or on none.
pub(crate) fn returned<'a, T: Returned, E: Display>(
    sockfd: impl Into<Option<&'a Sockfd>>,
    result: &Result<T, E>,
    call: Arguments,
) {
    if on() {
        let sockfd = sockfd.into();
        // The state before the time: so the socket was in this state by then.
        let state = sockfd.map_or(TcpState::UNKNOWN, state);
        let listens = sockfd.filter(|_| state == TcpState::LISTEN && result.is_ok());
        let queue = listens.and_then(|sockfd| complete_connections(sockfd.number()));
        let queue = queue.map_or(String::new(), |n| format!(", {n} in its queue"));
        let result = shown(result);
        event(now(), state, format_args!("{call} = {result}{queue}"));
    }
}

/// Makes a call that sends a segment, and prints it with the time and the state before it; then the
/// state after it, if that is another one.
pub(crate) fn sends<T: Returned, E: Display>(
    sockfd: &Sockfd,
    text: Arguments,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let was = state(sockfd);
    let result = timed(was, text, call);
    if state(sockfd) != was {
        print_state(sockfd);
    }
    result
}

/// Makes a call, and prints it with the time before it.
pub(crate) fn timed<T: Returned, E: Display>(
    state: TcpState,
    text: Arguments,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let when = on().then(now);
    let result = call();
    if let Some(when) = when {
        event(when, state, format_args!("{text} = {}", shown(&result)));
    }
    result
}

/// The state of a socket; without a trace the kernel is not asked.
pub(crate) fn state(sockfd: &Sockfd) -> TcpState {
    match on() {
        true => sock_diag::state(sockfd.number(), sockfd.ends()),
        false => TcpState::UNKNOWN,
    }
}

/// Prints the state of a connection: `ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877`.
pub(crate) fn print_state(sockfd: &Sockfd) {
    if !on() {
        return;
    }
    if let Some(ends) = sockfd.ends() {
        let connections = CONNECTIONS.lock();
        let _ = connections.map(|mut all| all.insert(sockfd.number(), ends));
        let state = state(sockfd);
        event(now(), state, addresses(sockfd.number(), ends));
    }
}

fn addresses(number: RawFd, (local, peer): Ends) -> String {
    format!("{number}: {local} to {peer}")
}

/// The TCP sockets of this process, each with its state, and the ends of its connection.
fn sockets() -> io::Result<Vec<(RawFd, TcpState, Option<Ends>)>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_string_lossy().parse().unwrap_or(-1);
        if is_tcp(number)? {
            let connections = CONNECTIONS.lock();
            let ends = connections.ok().and_then(|ends| ends.get(&number).copied());
            sockets.push((number, sock_diag::state(number, ends), ends));
        }
    }
    Ok(sockets)
}

/// What this process holds: `holds 3 LISTEN, 4 ESTABLISHED`.
pub(crate) fn holds() -> String {
    let sockets = match sockets() {
        Ok(sockets) => sockets,
        Err(why) => return format!("what it holds is not known: {why}"),
    };
    let each = sockets.iter();
    let each = each.map(|(number, state, _)| format!("{number} {}", state.name()));
    match each.collect::<Vec<_>>().join(", ").trim_end() {
        "" => "holds no socket".to_owned(),
        sockets => format!("holds {sockets}"),
    }
}

/// For `exit` and `_exit`, under a trace: closes the sockets of this process, as its exit would, and
/// prints that, and each state that follows.
pub(crate) fn exits(call: Arguments) {
    if !on() {
        return;
    }
    let holds = holds();
    print(format_args!("{call}, {holds}"));
    for (number, state, ends) in sockets().unwrap_or_default() {
        if number <= 2 {
            continue; // these lines go to descriptor 2
        }
        let in_table = ends.map(find);
        let close = || close(number).map_err(io::Error::from);
        let _ = timed(state, format_args!("close({number})"), close);
        match (ends, in_table) {
            _ if is_last(state) => {}
            (Some(_), Some(TcpState::UNKNOWN | TcpState::CLOSED)) => {
                print("which state follows is not known: the kernel's table (sock_diag) has none");
            }
            (Some(ends), _) => watch(number, ends),
            (None, _) => {}
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
            event(now(), state, addresses(number, ends));
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
        event(now(), TcpState::UNKNOWN, text);
    }
}

pub(crate) fn now() -> SystemTime {
    SystemTime::now()
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
