//! The trace that `--trace` prints (see [`trace_start`]).
//!
//! Without `--trace`, each wrapper only checks a flag, without any system call or formatting.

mod state;

use crate::retry::{Blocking, wait};
use crate::sockfd::Sockfd;
use crate::stderr::{program, write_line};
use nix::poll::{PollFlags, PollTimeout};
use nix::unistd::{ForkResult, close};
use state::{Ends, TcpState, cookie, find, queued, state};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Debug, Display};
use std::io::{self, Error, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, mem, process, thread};

static ON: AtomicBool = AtomicBool::new(false);

/// The sockets traced so far, by descriptor: each socket's cookie and the ends of its connection,
/// because a socket in TIME_WAIT, or after a reset, no longer knows its peer.
static SEEN: Mutex<BTreeMap<RawFd, (u64, Option<Ends>)>> = Mutex::new(BTreeMap::new());

/// Starts the trace in this process and in the children it will fork. The trace shows each call in
/// the listings, where each process is blocked, and the TCP states (TCP状态转换图).
///
/// Each line on standard error shows the time, the process, the state of the socket, and the call
/// with its result. The time is in the format of `tcpdump -tt`, so the lines from both programs can
/// be sorted together. A call that sends a segment (connect, Writen, shutdown) is printed when it
/// begins, followed by its error or the resulting state; close is printed when it begins. Any other
/// call is printed when it returns, and also beforehand, with the word `sleeps`, if the call has to
/// wait. If standard error is full, the process waits.
///
/// The word `holds` precedes a list of the open sockets that traced calls have used. Because a
/// process cannot print the effect of its own exit, [`exit`](crate::exit) and
/// [`_exit`](crate::_exit) close these sockets if the trace is on, and print the states that follow,
/// for at most one second. The states are not printed in a process with other threads, without
/// /proc, or without a free descriptor.
pub fn trace_start() {
    ON.store(true, Ordering::Relaxed);
}

fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Prints that a call sleeps, if its descriptor has nothing to read.
pub(crate) fn trace_sleep(fd: impl AsFd, call: impl Display) {
    if on() {
        let number = fd.as_fd().as_raw_fd();
        let ends = open().get(&number).and_then(|(_, ends)| *ends);
        // The time and the state are read before the poll. Otherwise, if a FIN arrived in between,
        // the trace would print `CLOSE_WAIT read(4) sleeps`.
        let (when, state) = (SystemTime::now(), state(number, ends));
        if wait(fd, PollFlags::POLLIN, PollTimeout::ZERO).is_ok_and(|ready| !ready) {
            event(when, state, format_args!("{call} sleeps"));
        }
    }
}

/// Calls [`returned`]: `trace!(sockfd, result, "call({sockfd})")`.
macro_rules! trace {
    ($sockfd:expr, $result:expr, $($call:tt)*) => {
        crate::trace::returned($sockfd, &$result, format_args!($($call)*))
    };
}

/// Calls [`sending`]: `sends!(sockfd, call, "shutdown({sockfd})")`.
macro_rules! sends {
    ($sockfd:expr, $call:expr, $($text:tt)*) => {
        crate::trace::sending($sockfd, $call, format_args!($($text)*))
    };
}
pub(crate) use {sends, trace};

/// Prints a call that has returned, and the state of the socket if there is one. If a signal
/// interrupted the call, the wrapper restarts it.
pub(crate) fn returned<'a>(
    sockfd: impl Into<Option<&'a Sockfd>>,
    result: &Result<impl Debug, impl Borrow<Error>>,
    call: Arguments,
) {
    if on() {
        let sockfd = sockfd.into();
        // The state is read before the time, so the socket was already in this state at that time.
        let state = sockfd.map_or(TcpState::UNKNOWN, |sockfd| look(sockfd).0);
        let mut text = format!("{call} = {}", shown(result));
        if let (TcpState::LISTEN, Some(listenfd), Ok(_)) = (state, sockfd, result) {
            text += &format!(", {} queued", queued(listenfd.0.as_raw_fd()));
        } else if result
            .as_ref()
            .is_err_and(|why| why.borrow().kind() == ErrorKind::Interrupted)
        {
            text = format!("{call} = -1, EINTR: interrupted by a signal, calling again");
        }
        event_now(state, text);
    }
}

/// Formats the result of a call as in C: `3`, or `-1, Connection refused (os error 111)`.
fn shown(result: &Result<impl Debug, impl Borrow<Error>>) -> String {
    match result.as_ref().map_err(Borrow::borrow) {
        Ok(value) => format!("{value:?}").replace("()", "0"), // Rust's () is C's 0
        Err(why) => format!("-1, {why}"),
    }
}

/// Prints a call that sends a segment, makes the call, and prints its error or the resulting state.
pub(crate) fn sending(
    sockfd: &Sockfd,
    call: impl FnOnce() -> io::Result<()>,
    text: Arguments,
) -> io::Result<()> {
    if !on() {
        return call();
    }
    let (before, _) = look(sockfd);
    event_now(before, text);
    let result = call();
    let (after, _) = look(sockfd);
    if result.is_err() {
        event_now(after, format_args!("{text} = {}", shown(&result)));
    } else if after != before {
        print_state(sockfd);
    }
    result
}

/// Prints a close before it begins, and the sockets that the process will hold afterwards.
pub(crate) fn closes(sockfd: &Sockfd) {
    if on() {
        let (state, _) = look(sockfd);
        open().remove(&sockfd.0.as_raw_fd());
        event_now(state, format_args!("close({sockfd}), then {}", holds()));
    }
}

/// Prints the state of a connection: `ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877`.
pub(crate) fn print_state(sockfd: &Sockfd) {
    if let Some((state, Some((local, peer)))) = on().then(|| look(sockfd)) {
        event_now(state, format_args!("{sockfd}: {local} to {peer}"));
    }
}

/// Returns the state of a socket, and the ends of its connection.
fn look(sockfd: &Sockfd) -> (TcpState, Option<Ends>) {
    let number = sockfd.0.as_raw_fd();
    let ends = || Some((sockfd.0.local_addr().ok()?, sockfd.0.peer_addr().ok()?));
    let ends = ends().and_then(|(local, peer)| Some((local.as_socket()?, peer.as_socket()?)));
    let mut open = open();
    let (_, known) = open.entry(number).or_insert((cookie(number), ends));
    *known = ends.or(*known);
    (state(number, *known), *known)
}

/// Returns the sockets traced so far that are still open. If the cookie of a descriptor has
/// changed, the descriptor now refers to another file.
fn open() -> MutexGuard<'static, BTreeMap<RawFd, (u64, Option<Ends>)>> {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.retain(|number, (its, _)| cookie(*number) == *its);
    seen
}

/// Lists the sockets that this process holds: `holds fd 3 LISTEN, fd 4 ESTABLISHED`.
fn holds() -> String {
    let its =
        |(fd, (_, ends)): (&RawFd, &(u64, _))| format!("fd {fd} {}", state(*fd, *ends).name());
    let sockets = open().iter().map(its).collect::<Vec<_>>().join(", ");
    format!(
        "holds {}",
        if sockets.is_empty() {
            "no socket"
        } else {
            &sockets
        }
    )
}

/// Forks, and prints a line in both processes. The parent's line has the time at which fork began,
/// so that this line precedes the child's lines.
pub(crate) fn forking(fork: impl FnOnce() -> io::Result<ForkResult>) -> io::Result<ForkResult> {
    if !on() {
        return fork();
    }
    let begin = SystemTime::now();
    let forked = fork();
    let (when, pid) = match &forked {
        Ok(ForkResult::Child) => (SystemTime::now(), Ok(0)),
        Ok(ForkResult::Parent { child }) => (begin, Ok(child.as_raw())),
        Err(why) => (begin, Err(why)),
    };
    let text = format!("fork() = {}, {}", shown(&pid), holds());
    event(when, TcpState::UNKNOWN, text);
    forked
}

/// If the trace is on, closes the open sockets, as `exit` or `_exit` would, and prints each close
/// and each state that follows.
pub(crate) fn exits(call: Arguments) {
    if !on() {
        return;
    }
    print(format_args!("{call}, {}", holds()));
    let threads = fs::read_dir("/proc/self/task").map(|threads| threads.count());
    if !matches!(threads, Ok(1)) {
        return; // another thread may still use the sockets; the exit itself will close them
    }
    for (number, (_, ends)) in mem::take(&mut *open()) {
        let state = state(number, ends);
        // If the connection is not in the kernel's table now, later states cannot be seen.
        let watched = ends.filter(|ends| !is_last(state) && !is_last(find(*ends)));
        event_now(state, format_args!("close({number})"));
        let _ = close(number);
        if let Some(ends) = watched {
            watch(number, ends);
        }
    }
}

/// Prints each new state of a closed connection until the last one, or for one second if the peer
/// does not send a FIN.
fn watch(number: RawFd, (local, peer): Ends) {
    let end = Instant::now() + Duration::from_secs(1);
    let mut printed = None;
    while Instant::now() < end {
        let state = find((local, peer));
        if printed.replace(state) != Some(state) {
            event_now(state, format_args!("{number}: {local} to {peer}"));
        }
        if is_last(state) {
            return;
        }
        thread::sleep(Duration::from_micros(50));
    }
    let text = format!("{number}: unchanged after 1 s; no longer watching");
    event_now(find((local, peer)), text);
}

/// Returns whether this is the last state that can be seen, apart from CLOSED after TIME_WAIT.
fn is_last(state: TcpState) -> bool {
    [TcpState::TIME_WAIT, TcpState::CLOSED, TcpState::UNKNOWN].contains(&state)
}

/// Prints a line that is not about a particular socket. A signal handler may call this function.
pub(crate) fn print(text: impl Display) {
    if on() {
        event_now(TcpState::UNKNOWN, text);
    }
}

fn event_now(state: TcpState, text: impl Display) {
    event(SystemTime::now(), state, text);
}

/// Writes the line for an event. A signal handler may call this function.
fn event(when: SystemTime, state: TcpState, text: impl Display) {
    let since = when.duration_since(SystemTime::UNIX_EPOCH);
    let (seconds, micros) = since.map_or((0, 0), |time| (time.as_secs(), time.subsec_micros()));
    let (program, pid, state) = (program(), process::id(), state.name());
    write_line(
        format_args!("{seconds}.{micros:06} {program}[{pid}]\t{state:11} {text}"),
        |line| Blocking(io::stderr()).write(line),
    );
}
