//! Sockfd: a socket descriptor.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The `sockfd`, `listenfd` or `connfd` of the listings: a socket descriptor.
///
/// It owns its descriptor. [`Close`](crate::Close) consumes it, so a closed descriptor cannot be
/// used; a `Sockfd` that goes out of scope is also closed. Its field is the socket2 socket, which
/// has every other operation and converts into other types: `TcpStream::from(connfd.0)`. If it is
/// made non-blocking, reads and writes fail with `EAGAIN`, as in C.
#[derive(Debug)]
pub struct Sockfd(pub socket2::Socket);

/// The number of the descriptor.
impl fmt::Display for Sockfd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.as_raw_fd().fmt(f)
    }
}

impl AsFd for Sockfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
