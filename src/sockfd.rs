//! Sockfd: a socket descriptor.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A socket descriptor, such as `sockfd`, `listenfd` or `connfd` in the listings.
///
/// A `Sockfd` owns its descriptor. [`Close`](crate::Close) consumes the `Sockfd`, so a closed
/// descriptor cannot be used; a `Sockfd` that goes out of scope is also closed. The field is a
/// socket2 socket, which has every other operation and converts to other types:
/// `TcpStream::from(connfd.0)`. On a non-blocking socket, reads and writes can fail with `EAGAIN`,
/// as in C.
#[derive(Debug)]
pub struct Sockfd(pub socket2::Socket);

/// Prints the number of the descriptor.
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
