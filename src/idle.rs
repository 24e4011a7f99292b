//! The patience of a server with its clients: an end to waiting for one that
//! neither sends nor takes anything.

use crate::retry::retry;
use crate::trace::trace;
use crate::wrapsock::Sockfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A client was idle for as long as it may: nothing came from it, or it took
/// nothing of what waits for it.
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeout {
    /// The client.
    pub peer: SocketAddr,
    /// For how long.
    pub timeout: Duration,
}

impl fmt::Display for IdleTimeout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: idle for {:?}: let go", self.peer, self.timeout)
    }
}

impl std::error::Error for IdleTimeout {}

/// The longest idle timeout, some 24 days: poll and TCP_USER_TIMEOUT count milliseconds
/// in an `int`.
pub const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(i32::MAX as u64 / 1000);

/// read(2) that fails with `ETIMEDOUT` when the socket has an idle timeout and
/// nothing comes for that long. Signals do not start the time anew.
pub(crate) fn read(sockfd: &Sockfd, buf: &mut [u8]) -> nix::Result<usize> {
    if let Some(timeout) = sockfd.idle_timeout() {
        let start = Instant::now();
        let mut fds = [PollFd::new(sockfd.as_fd(), PollFlags::POLLIN)];
        let come = || {
            let left = timeout.saturating_sub(start.elapsed());
            poll(
                &mut fds,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            )
        };
        if retry(come)? == 0 {
            return Err(Errno::ETIMEDOUT);
        }
    }
    let n = unistd::read(sockfd, buf);
    match n {
        Ok(0) => trace!(sockfd, "read({sockfd}) = 0, the FIN"),
        Ok(n) => trace!(sockfd, "read({sockfd}) = {n}"),
        Err(errno) => trace!(sockfd, "read({sockfd}) = -1, {}", errno.desc()),
    }
    n
}
