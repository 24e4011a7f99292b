//! read and write. After [`set_idle_timeout`] they do not wait for ever: `--idle-timeout`.

use crate::retry::wait;
use crate::sockfd::Sockfd;
use crate::tcp_state::tcp_info;
use crate::trace::trace;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// SO_RCVTIMEO and SO_SNDTIMEO: how many seconds [`str_echo`](crate::str_echo()) and
/// [`Readline`](crate::Readline) wait for bytes from the peer, and [`Writen`](crate::Writen) for
/// room in the send buffer, before they fail with `idle for …` ([`ErrorKind::TimedOut`]). 0
/// switches it off.
///
/// A peer whose host still takes what was sent to it is not idle. So while sent bytes are not acknowledged,
/// the first time-out is no error, and a later one is an error only if none were acknowledged since the one
/// before: it comes at most twice `seconds` after the peer's last byte or ACK. A signal restarts the
/// time-out.
///
/// # Errors
/// `setsockopt error: OPTION: …`.
pub fn set_idle_timeout(connfd: &Sockfd, seconds: u32) -> Result<()> {
    let timeout = Some(Duration::from_secs(seconds.into()));
    let receive = connfd.socket.set_read_timeout(timeout);
    let both = receive.and_then(|()| connfd.socket.set_write_timeout(timeout));
    let names = "SO_RCVTIMEO and SO_SNDTIMEO";
    trace!(connfd, both, "setsockopt({connfd}, {names}, {seconds} s)");
    both.with_context(|| format!("setsockopt error: {names}"))
}

/// read(2); it can fail with `idle for …`.
pub(crate) fn read(sockfd: &Sockfd, buf: &mut [u8]) -> io::Result<usize> {
    unless_idle(sockfd, PollFlags::POLLIN, || unistd::read(sockfd, buf))
}

/// write(2); it can fail with `idle for …`.
pub(crate) fn write(sockfd: &Sockfd, buf: &[u8]) -> io::Result<usize> {
    unless_idle(sockfd, PollFlags::POLLOUT, || unistd::write(sockfd, buf))
}

/// Makes the call, and makes it again after each time-out that is no error (see set_idle_timeout).
///
/// If sent bytes are not acknowledged when the error comes, it sets SO_LINGER to 0 seconds: then the
/// close sends a reset, and the kernel drops the bytes. Else the kernel would keep them for minutes.
fn unless_idle(
    sockfd: &Sockfd,
    event: PollFlags,
    mut call: impl FnMut() -> nix::Result<usize>,
) -> io::Result<usize> {
    let socket = &sockfd.socket;
    let mut acked_before = None;
    loop {
        match call() {
            Err(Errno::EAGAIN) => {}
            done => return Ok(done?),
        }
        let timeout = socket.read_timeout()?; // that of writes is the same
        // If somebody made the socket non-blocking, the call has not waited yet.
        if socket.nonblocking()? && wait(sockfd, event, timeout)? {
            continue;
        }
        let info = tcp_info(sockfd.number());
        let is_waiting = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
        let acked = is_waiting.then_some(info.tcpi_bytes_acked); // kernels before 4.6 do not know all
        if acked == acked_before {
            let _ = socket.set_linger(acked.map(|_| Duration::ZERO)); // None: all is acknowledged
            let idle = format!("idle for {:?}", timeout.unwrap_or_default());
            return Err(io::Error::new(ErrorKind::TimedOut, idle));
        }
        acked_before = acked;
    }
}
