//! Sockfd: a socket descriptor.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The `sockfd`, `listenfd` or `connfd` of the listings: a socket descriptor.
///
/// It owns its descriptor: [`Close`](crate::Close) takes it, and then nothing can use it any
/// more. A `Sockfd` that goes out of scope is closed, too. Its field has all that socket2 can do
/// with a socket. (If it was made non-blocking, reads and writes fail with `EAGAIN`, as in C.)
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
