//! The trace of `--trace`: see [`trace_start`].
//!
//! Without `--trace` each wrapper only asks whether there is a trace: no system call, no text.

mod sock_diag;
mod tcp_state;

use crate::retry::{Blocking, wait};
use crate::sockfd::Sockfd;
use crate::stderr::{program, write_line};
use nix::poll::{PollFlags, PollTimeout};
use nix::unistd::{ForkResult, close};
use sock_diag::{Ends, find};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Debug, Display};
use std::io::{self, Error, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, mem, process, thread};
use tcp_state::{TcpState, tcp_info};

static ON: AtomicBool = AtomicBool::new(false);

/// Under a trace, the open sockets by their descriptors, each with the ends of its connection: in TIME_WAIT or
/// after a reset a socket does not know its peer.
static OPEN: Mutex<BTreeMap<RawFd, Option<Ends>>> = Mutex::new(BTreeMap::new());

/// Starts the trace, in this process and in the children that it will fork: each call of the
/// listings, who sleeps in which call, and the TCP states (TCP状态转换图).
///
/// Each line on standard error has the time, the process, the state of the socket, and the call with its
/// result. The time is in seconds since 1970, as `tcpdump -tt` and `strace -ttt` print it, so the lines of
/// both programs and theirs can be sorted together. The socket was in its state by then. If nobody reads
/// standard error and it is full, a line waits, and so does its process.
///
/// A call that sends a segment (connect, Writen, shutdown, close, the exits) is printed when it begins;
/// then its error, or the state that it led to. Any other is printed when it returns, and before that with
/// `sleeps` if it has to wait. So the last line of a process (with `--batch`, of a thread) tells where it is.
///
/// A process cannot print what its own exit does. So under a trace [`exit`](crate::exit) and
/// [`_exit`](crate::_exit) close the process's sockets themselves, and print the states that follow each
/// close, for one second at most. (Not if the process has another thread, which may use them; and no states
/// where the kernel has no sock_diag.)
pub fn trace_start() {
    ON.store(true, Ordering::Relaxed);
}

fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Prints that a call sleeps, if it will: if nothing can be read from its descriptor.
pub(crate) fn trace_sleep(fd: impl AsFd, call: impl Display) {
    if on() {
        let number = fd.as_fd().as_raw_fd();
        let ends = open().get(&number).copied().flatten();
        // Both from before the poll: else a FIN that comes in between makes `CLOSE_WAIT read(4) sleeps`.
        let (when, state) = (SystemTime::now(), sock_diag::state(number, ends));
        if wait(fd, PollFlags::POLLIN, PollTimeout::ZERO).is_ok_and(|ready| !ready) {
            event(when, state, format_args!("{call} sleeps"));
        }
    }
}

/// `trace!(sockfd, result, "call({sockfd})")`: see [`returned`].
macro_rules! trace {
    ($sockfd:expr, $result:expr, $($call:tt)*) => {
        crate::trace::returned($sockfd, &$result, format_args!($($call)*))
    };
}

/// `sends!(sockfd, call, "shutdown({sockfd})")`: see [`sending`].
macro_rules! sends {
    ($sockfd:expr, $call:expr, $($text:tt)*) => {
        crate::trace::sending($sockfd, $call, format_args!($($text)*))
    };
}
pub(crate) use {sends, trace};

/// Prints a call that has returned, on a socket or on none.
pub(crate) fn returned<'a>(
    sockfd: impl Into<Option<&'a Sockfd>>,
    result: &Result<impl Debug, impl Borrow<Error>>,
    call: Arguments,
) {
    if on() {
        let sockfd = sockfd.into();
        // The state before the time: so the socket was in this state by then.
        let state = sockfd.map_or(TcpState::UNKNOWN, |sockfd| look(sockfd).0);
        let mut text = format!("{call} = {}", shown(result));
        if let (TcpState::LISTEN, Some(listenfd), Ok(_)) = (state, sockfd, result) {
            let info = tcp_info(listenfd.0.as_raw_fd());
            text += &format!(", {} in its queue", info.tcpi_unacked); // of a listening socket it is this
        }
        event(SystemTime::now(), state, text);
    }
}

/// The result of a call as C shows it: `3`, or `-1, Connection refused (os error 111)`.
fn shown(result: &Result<impl Debug, impl Borrow<Error>>) -> String {
    match result.as_ref().map_err(Borrow::borrow) {
        Ok(value) => format!("{value:?}").replace("()", "0"), // Rust's () is C's 0
        Err(why) if why.kind() == ErrorKind::Interrupted => {
            "-1, EINTR: a signal has interrupted it, it is called again".to_owned()
        }
        Err(why) => format!("-1, {why}"),
    }
}

/// Makes a call that sends a segment. Prints it first, and then its error, or the state that it led to.
pub(crate) fn sending(
    sockfd: &Sockfd,
    call: impl FnOnce() -> io::Result<()>,
    text: Arguments,
) -> io::Result<()> {
    if !on() {
        return call();
    }
    let (before, _) = look(sockfd);
    event(SystemTime::now(), before, text);
    let result = call();
    if result.is_err() {
        returned(sockfd, &result, text);
    } else if look(sockfd).0 != before {
        print_state(sockfd);
    }
    result
}

/// Prints a close that begins, and what the process will hold after it.
pub(crate) fn closes(sockfd: &Sockfd) {
    if on() {
        let (state, _) = look(sockfd);
        open().remove(&sockfd.0.as_raw_fd());
        let text = format!("close({sockfd}), then {}", holds());
        event(SystemTime::now(), state, text);
    }
}

/// Prints the state of a connection: `ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877`.
pub(crate) fn print_state(sockfd: &Sockfd) {
    if let Some((state, Some((local, peer)))) = on().then(|| look(sockfd)) {
        let text = format!("{sockfd}: {local} to {peer}");
        event(SystemTime::now(), state, text);
    }
}

/// The state of a socket, and the ends of its connection. Notes it as open.
fn look(sockfd: &Sockfd) -> (TcpState, Option<Ends>) {
    let number = sockfd.0.as_raw_fd();
    let ends = || Some((sockfd.0.local_addr().ok()?, sockfd.0.peer_addr().ok()?));
    let ends = ends().and_then(|(local, peer)| Some((local.as_socket()?, peer.as_socket()?)));
    let mut open = open();
    let known = open.entry(number).or_insert(ends);
    *known = ends.or(*known);
    (sock_diag::state(number, *known), *known)
}

fn open() -> MutexGuard<'static, BTreeMap<RawFd, Option<Ends>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process holds: `holds fd 3 LISTEN, fd 4 ESTABLISHED`.
fn holds() -> String {
    let mut sockets = Vec::new();
    for (fd, ends) in open().iter() {
        sockets.push(format!("fd {fd} {}", sock_diag::state(*fd, *ends).name()));
    }
    match sockets.is_empty() {
        true => "holds no socket".to_owned(),
        false => format!("holds {}", sockets.join(", ")),
    }
}

/// The time at which a fork begins.
pub(crate) fn now() -> Option<SystemTime> {
    on().then(SystemTime::now)
}

/// Prints a fork: in the parent with the time at which it began, so that it stands before its child.
pub(crate) fn forked(begin: Option<SystemTime>, forked: &io::Result<ForkResult>) {
    if let Some(begin) = begin {
        let pid = forked.as_ref().map(|forked| match forked {
            ForkResult::Child => 0,
            ForkResult::Parent { child } => child.as_raw(),
        });
        let is_child = matches!(pid, Ok(0));
        let when = if is_child { SystemTime::now() } else { begin };
        let text = format!("fork() = {}, {}", shown(&pid), holds());
        event(when, TcpState::UNKNOWN, text);
    }
}

/// For `exit` and `_exit`, under a trace: closes the open sockets, as the process's exit would, and prints
/// that, and each state that follows.
pub(crate) fn exits(call: Arguments) {
    if !on() {
        return;
    }
    print(format_args!("{call}, {}", holds()));
    let threads = fs::read_dir("/proc/self/task").map(|threads| threads.count());
    if !matches!(threads, Ok(1)) {
        return; // another thread may use them: the exit itself will close them
    }
    for (number, ends) in mem::take(&mut *open()) {
        let state = sock_diag::state(number, ends);
        // Where the kernel's table does not know it now, it does not tell what follows, either.
        let watched = ends.filter(|ends| !is_last(state) && !is_last(find(*ends)));
        event(SystemTime::now(), state, format_args!("close({number})"));
        let _ = close(number);
        if let Some(ends) = watched {
            watch(number, ends);
        }
    }
}

/// Prints each new state of a closed connection, until no other follows, or for one second if the peer
/// sends no FIN.
fn watch(number: RawFd, (local, peer): Ends) {
    let end = Instant::now() + Duration::from_secs(1);
    let mut printed = None;
    while Instant::now() < end {
        let state = find((local, peer));
        if printed != Some(state) {
            let text = format!("{number}: {local} to {peer}");
            event(SystemTime::now(), state, text);
            printed = Some(state);
        }
        if is_last(state) {
            return;
        }
        thread::sleep(Duration::from_micros(50));
    }
    let text = format!("{number}: after 1 s still so; the trace looks no longer");
    event(SystemTime::now(), find((local, peer)), text);
}

/// Whether no state follows that could be seen, but for CLOSED after TIME_WAIT.
fn is_last(state: TcpState) -> bool {
    [TcpState::TIME_WAIT, TcpState::CLOSED, TcpState::UNKNOWN].contains(&state)
}

/// Prints what is not about one socket. A signal handler may call it.
pub(crate) fn print(text: impl Display) {
    if on() {
        event(SystemTime::now(), TcpState::UNKNOWN, text);
    }
}

/// Writes the line of an event. A signal handler may call it.
fn event(when: SystemTime, state: TcpState, text: impl Display) {
    let since = when.duration_since(SystemTime::UNIX_EPOCH);
    let (seconds, micros) = since.map_or((0, 0), |time| (time.as_secs(), time.subsec_micros()));
    let (program, pid, state) = (program(), process::id(), state.name());
    write_line(
        format_args!("{seconds}.{micros:06} {program}[{pid}]\t{state:11} {text}"),
        |line| Blocking(io::stderr()).write(line),
    );
}
