//! Sockfd: a socket descriptor, and the address at the other end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::{fmt, net::SocketAddr};

/// The `sockfd`, `listenfd` or `connfd` of the listings: a socket descriptor.
///
/// It owns its descriptor: [`Close`](crate::Close) takes it, and then nothing can use it
/// any more. It keeps the peer's address that [`Connect`](crate::Connect) or
/// [`Accept`](crate::Accept) got: after a reset the kernel no longer knows it, and an error
/// message still needs it.
#[derive(Debug)]
pub struct Sockfd {
    pub(crate) socket: socket2::Socket,
    pub(crate) peer: Option<SocketAddr>,
}

impl Sockfd {
    /// The address at the other end, if this socket was connected or accepted.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The peer's address for a message.
    pub(crate) fn peer_name(&self) -> String {
        match self.peer {
            Some(peer) => peer.to_string(),
            None => "not connected".to_owned(),
        }
    }
}

/// The number of the descriptor.
impl fmt::Display for Sockfd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.socket.as_raw_fd().fmt(f)
    }
}

impl AsFd for Sockfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
