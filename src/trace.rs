//! The narration behind `--trace`: each call of the listings as it returns, and the
//! state in which the kernel then has the socket.
//!
//! A line an event, in one write, so that the lines of parent and children never
//! mix: the time of day, the process, the state, the call.
//!
//! ```text
//! 14:03:07.001234 tcpserv[4711]    LISTEN      listen(3, 1024) = 0
//! ```
//!
//! Unless [`start`] was called, an event costs one branch.

use crate::error::{program, write_line};
use crate::tcp_state::{Entry, TcpState, find, tcp_state};
use crate::wrapsock::{Getsockname, Sockfd};
use crate::wrapunix::utc_offset;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

static ON: AtomicBool = AtomicBool::new(false);
static UTC_OFFSET: AtomicI64 = AtomicI64::new(0);
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Starts the narration, for this process and for the children it will fork.
pub fn start() {
    program(); // a signal handler must find it there
    UTC_OFFSET.store(utc_offset(), Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

pub(crate) fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// `trace!(sockfd, "call({sockfd}) = {}", result)` tells of a call on a socket that has
/// just returned.
macro_rules! trace {
    ($sockfd:expr, $($event:tt)*) => {
        if crate::trace::on() {
            crate::trace::on_socket($sockfd, format_args!($($event)*));
        }
    };
}
pub(crate) use trace;

/// Tells of a call on a socket, whose state is asked for now.
pub(crate) fn on_socket<'a>(sockfd: impl Into<Option<&'a Sockfd>>, event: fmt::Arguments) {
    let now = SystemTime::now();
    let state = sockfd.into().and_then(|sockfd| tcp_state(sockfd).ok());
    write_event(now, state, event);
}

/// Tells of a call on no socket. A signal handler may call it.
pub(crate) fn elsewhere(event: fmt::Arguments) {
    write_event(SystemTime::now(), None, event);
}

fn write_event(when: SystemTime, state: Option<TcpState>, event: fmt::Arguments) {
    let when = when
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let local = when.as_secs() as i64 + UTC_OFFSET.load(Ordering::Relaxed);
    let (hours, minutes, seconds) = (local / 3600 % 24, local / 60 % 60, local % 60);
    let micros = when.subsec_micros();
    let (program, pid) = (program(), process::id());
    let digits = pid.ilog10() as usize + 1; // a process id is not 0
    let to_column = 16_usize.saturating_sub(program.len() + digits + 2);
    let state = state.map_or("", TcpState::name);
    write_line(format_args!(
        "{hours:02}:{minutes:02}:{seconds:02}.{micros:06} \
         {program}[{pid}]{:to_column$} {state:11} {event}",
        ""
    ));
}

/// Remembers that this process is the child, for the words of [`Closing::closed`].
pub(crate) fn in_child() {
    IN_CHILD.store(on(), Ordering::Relaxed);
}

/// A socket that is about to be closed, while it can still be asked who it is.
pub(crate) struct Closing {
    /// Just before: the FIN is on its way, and may be answered, when close returns.
    when: SystemTime,
    number: RawFd,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

impl Closing {
    pub(crate) fn new(sockfd: &Sockfd) -> Self {
        Closing {
            when: SystemTime::now(),
            number: sockfd.as_fd().as_raw_fd(),
            local: Getsockname(sockfd).ok(),
            peer: sockfd.peer(),
        }
    }

    /// What the kernel's table has of it, if the kernel can be asked. What is not in it
    /// is CLOSED.
    fn look(&self) -> Option<Entry> {
        let closed = Entry {
            state: TcpState::Closed,
            held: false,
        };
        let entry = find(self.local?, self.peer).ok()?;
        Some(entry.unwrap_or(closed))
    }

    /// Tells of the close that has just returned; returns the state that it left.
    pub(crate) fn closed(&self, remark: &str) -> Option<TcpState> {
        let entry = self.look();
        let state = entry.map(|entry| entry.state);
        let holder = match (entry, IN_CHILD.load(Ordering::Relaxed)) {
            (Some(Entry { held: true, .. }), true) => ", the parent still holds it",
            (Some(Entry { held: true, .. }), false) => ", the child still holds it",
            _ => "",
        };
        let number = self.number;
        write_event(
            self.when,
            state,
            format_args!("close({number}) = 0{remark}{holder}"),
        );
        state
    }
}

/// What a process does with a socket just before its exit, which closes it.
///
/// A process cannot tell of its own exit. So with a narration the socket is closed
/// here, and that is told; without, it is left to the exit.
pub fn before_exit(sockfd: Sockfd) {
    close_to_tell(sockfd);
}

/// [`before_exit`] for the client, which then watches its connection end: until it is
/// in TIME_WAIT, or the kernel knows it no more, or, where the server holds its FIN
/// back, for [`WATCH`].
pub fn before_exit_watch(sockfd: Sockfd) {
    let Some((closing, mut seen)) = close_to_tell(sockfd) else {
        return;
    };
    let end = Instant::now() + WATCH;
    let over = |state| matches!(state, None | Some(TcpState::TimeWait | TcpState::Closed));
    while !over(seen) && Instant::now() < end {
        let now = SystemTime::now();
        let state = closing.look().map(|entry| entry.state);
        if state != seen {
            write_event(now, state, format_args!("({} is closed)", closing.number));
            seen = state;
        }
        thread::sleep(Duration::from_micros(50));
    }
    elsewhere(format_args!("exit"));
}

/// How long a client watches its connection end.
pub const WATCH: Duration = Duration::from_secs(1);

fn close_to_tell(sockfd: Sockfd) -> Option<(Closing, Option<TcpState>)> {
    if !on() {
        mem::forget(sockfd); // it stays open until the exit
        return None;
    }
    let closing = Closing::new(&sockfd);
    drop(sockfd);
    let state = closing.closed(", as the exit would do");
    Some((closing, state))
}
