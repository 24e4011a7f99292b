//! Sockfd: a socket descriptor, and the address at the other end.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::{fmt, mem::ManuallyDrop, sync::OnceLock};

/// The `sockfd`, `listenfd` or `connfd` of the listings: a socket descriptor.
///
/// It owns its descriptor: [`Close`](crate::Close) takes it, and then nothing can use it any
/// more. A `Sockfd` that goes out of scope is closed too.
///
/// It keeps the peer's address that [`Connect`](crate::Connect) or [`Accept`](crate::Accept) got:
/// after a reset the kernel no longer knows it, and an error message still needs it.
#[derive(Debug)]
pub struct Sockfd {
    pub(crate) socket: ManuallyDrop<socket2::Socket>, // Sockfd's own drop closes it (wrapunix.rs)
    pub(crate) peer: OnceLock<SocketAddr>,
}

/// The addresses of both ends of a connection: its own, and the peer's.
pub(crate) type Ends = (SocketAddr, SocketAddr);

impl Sockfd {
    pub(crate) fn new(socket: socket2::Socket, peer: OnceLock<SocketAddr>) -> Sockfd {
        let socket = ManuallyDrop::new(socket);
        Sockfd { socket, peer }
    }

    /// The number of the descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(crate) fn ends(&self) -> Option<Ends> {
        let local = self.socket.local_addr().ok()?.as_socket()?;
        let mut peer = *self.peer.get()?;
        if peer.ip().is_unspecified() {
            peer.set_ip(local.ip()); // a connect to 0.0.0.0 or :: connects this host to itself
        }
        Some((local, peer))
    }

    /// The peer's address for a message.
    pub(crate) fn peer_name(&self) -> String {
        let peer = self.peer.get().map(SocketAddr::to_string);
        peer.unwrap_or_else(|| "not connected".to_owned())
    }
}

/// The number of the descriptor.
impl fmt::Display for Sockfd {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl AsFd for Sockfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
