//! read and write that do not wait for ever: `--idle-timeout`.

use crate::retry::wait_ready;
use crate::sockfd::Sockfd;
use crate::tcp_state::acked_so_far;
use crate::trace::trace;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFlags, PollTimeout};
use nix::unistd;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// SO_RCVTIMEO and SO_SNDTIMEO: how many seconds [`str_echo`](crate::str_echo()) and
/// [`Readline`](crate::Readline) wait for bytes from the peer, and [`Writen`](crate::Writen) for
/// room in the send buffer, before they fail with `idle for …` ([`ErrorKind::TimedOut`]). 0
/// switches it off.
///
/// A peer whose host still takes what was sent to it is not idle: they wait again while it has
/// acknowledged bytes since the last time-out. So the error may come after up to three times as
/// long. A signal restarts the time-out.
///
/// # Errors
/// `setsockopt error: OPTION: …`.
pub fn set_idle_timeout(connfd: &Sockfd, seconds: u32) -> Result<()> {
    let timeout = Some(Duration::from_secs(seconds.into()));
    let receive = connfd.socket.set_read_timeout(timeout);
    let both = receive.and_then(|()| connfd.socket.set_write_timeout(timeout));
    trace!(
        connfd,
        both, "setsockopt({connfd}, SO_RCVTIMEO and SO_SNDTIMEO, {seconds} s)"
    );
    both.context("setsockopt error: SO_RCVTIMEO and SO_SNDTIMEO")
}

/// read(2). It can fail as idle.
pub(crate) fn read(sockfd: &Sockfd, buf: &mut [u8]) -> io::Result<usize> {
    unless_idle(sockfd, PollFlags::POLLIN, || unistd::read(sockfd, buf))
}

/// write(2). It can fail as idle.
pub(crate) fn write(sockfd: &Sockfd, buf: &[u8]) -> io::Result<usize> {
    unless_idle(sockfd, PollFlags::POLLOUT, || unistd::write(sockfd, buf))
}

/// Makes the call, and again after a time-out in which the peer has acknowledged bytes.
///
/// If sent bytes are not acknowledged at the end of the last one, it sets SO_LINGER to 0: the
/// close sends a reset, and the kernel drops the bytes.
fn unless_idle(
    sockfd: &Sockfd,
    ready: PollFlags,
    mut call: impl FnMut() -> nix::Result<usize>,
) -> io::Result<usize> {
    let socket = &sockfd.socket;
    let mut acked_before = None;
    loop {
        match call() {
            Err(Errno::EAGAIN) => {}
            done => return Ok(done?),
        }
        let timeout = match ready {
            PollFlags::POLLIN => socket.read_timeout()?,
            _ => socket.write_timeout()?,
        };
        // If somebody made the socket non-blocking, the call has not waited yet.
        if socket.nonblocking()? {
            let limit = timeout.and_then(|timeout| PollTimeout::try_from(timeout).ok());
            if wait_ready(sockfd, ready, limit.unwrap_or(PollTimeout::NONE))? {
                continue;
            }
        }
        let acked = acked_so_far(sockfd.number());
        if acked == acked_before {
            // If this fails, the kernel only keeps the bytes longer.
            let _ = socket.set_linger(acked.map(|_| Duration::ZERO));
            let idle = format!("idle for {:?}", timeout.unwrap_or_default());
            return Err(io::Error::new(ErrorKind::TimedOut, idle));
        }
        acked_before = acked;
    }
}
