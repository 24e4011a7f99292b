//! What `--trace` prints: see [`trace_start`](crate::trace_start).
//!
//! Without [`start`] an event costs one branch, and no system call.

use crate::error::{program, write_line};
use crate::sock_diag::{find, state};
use crate::sockfd::Sockfd;
use crate::tcp_state::{TcpState, complete_connections};
use std::fmt::{Arguments, Display};
use std::net::SocketAddr;
use std::sync::{OnceLock, atomic::AtomicI64, atomic::Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{process, thread};

/// The function that returns local time minus UTC, in seconds. It is called for each event,
/// because daylight saving time may begin or end.
static CLOCK: OnceLock<fn() -> i64> = OnceLock::new();

/// Its last result. A signal handler uses it, because localtime_r is not safe there.
static UTC_OFFSET: AtomicI64 = AtomicI64::new(0);

/// Starts the trace. `utc_offset` returns local time minus UTC, in seconds.
pub(crate) fn start(utc_offset: fn() -> i64) {
    program(); // makes the name now: a signal handler must not allocate
    CLOCK.get_or_init(|| utc_offset);
}

pub(crate) fn on() -> bool {
    CLOCK.get().is_some()
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
pub(crate) fn shown<T: Returned, E: Display>(result: &Result<T, E>) -> String {
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
        let state = sockfd.and_then(|sockfd| state(sockfd).ok());
        let queue = match sockfd.filter(|_| result.is_ok()).map(complete_connections) {
            Some(Ok(n)) if state == Some(TcpState::LISTEN) => format!(", {n} in its queue"),
            _ => String::new(),
        };
        event(
            now(),
            state,
            format_args!("{call} = {}{queue}", shown(result)),
        );
    }
}

/// The time, and the state of a socket.
pub(crate) type Before = (SystemTime, Option<TcpState>);

/// To be called before a call that sends. `None` without a trace.
pub(crate) fn before(sockfd: &Sockfd) -> Option<Before> {
    let state = on().then(|| state(sockfd).ok())?;
    Some((now(), state))
}

/// Prints a call that sends and has returned, with the time before it; then the state after it,
/// if that is another one.
pub(crate) fn sent<T: Returned, E: Display>(
    before: Option<Before>,
    sockfd: &Sockfd,
    result: &Result<T, E>,
    call: Arguments,
) {
    if let Some((when, was)) = before {
        event(when, was, format_args!("{call} = {}", shown(result)));
        if state(sockfd).ok() != was {
            print_state(sockfd);
        }
    }
}

/// Prints the state of a connection: `ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877`.
pub(crate) fn print_state(sockfd: &Sockfd) {
    if on() {
        let state = state(sockfd).ok();
        event(now(), state, ends(sockfd));
    }
}

/// A socket's number, and the addresses at both ends of its connection.
pub(crate) fn ends(sockfd: &Sockfd) -> String {
    let local = sockfd.socket.local_addr().map(|local| local.as_socket());
    match (local, sockfd.peer()) {
        (Ok(Some(local)), Some(peer)) => format!("{sockfd}: {local} to {peer}"),
        _ => sockfd.to_string(),
    }
}

/// Prints each new state of a closed connection, until it is in TIME_WAIT or gone, or for one
/// second if the peer sends no FIN.
pub(crate) fn watch(ends: &str, local: SocketAddr, peer: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(1);
    let mut told = None;
    let last = [Some(TcpState::TIME_WAIT), Some(TcpState::CLOSED)];
    while Instant::now() < end && !last.contains(&told) {
        let state = find(local, Some(peer)).ok();
        if state != told {
            event(now(), state, ends);
            told = state;
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// The time now. Not for a signal handler, which takes `SystemTime::now()`.
pub(crate) fn now() -> SystemTime {
    if let Some(utc_offset) = CLOCK.get() {
        UTC_OFFSET.store(utc_offset(), Ordering::Relaxed);
    }
    SystemTime::now()
}

/// Writes the line of an event. A signal handler may call it.
pub(crate) fn event(when: SystemTime, state: Option<TcpState>, text: impl Display) {
    let since = when.duration_since(SystemTime::UNIX_EPOCH);
    let when = since.unwrap_or_default();
    let local = when.as_secs() as i64 + UTC_OFFSET.load(Ordering::Relaxed);
    let (hours, minutes, seconds) = (local / 3600 % 24, local / 60 % 60, local % 60);
    let micros = when.subsec_micros();
    let (program, pid) = (program(), process::id());
    let state = state.map_or("", TcpState::name);
    write_line(format_args!(
        "{hours:02}:{minutes:02}:{seconds:02}.{micros:06} {program}[{pid}]\t{state:11} {text}"
    ));
}
