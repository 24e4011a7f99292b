//! The states of a TCP connection (TCP状态转换图), and what the kernel says of an open
//! socket (TCP_INFO).

use nix::libc::{self, socklen_t};
use std::{mem, os::fd::RawFd};

/// A state of the documents' diagram, by the number that Linux gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpState(pub(crate) u8);

impl TcpState {
    /// The kernel does not say it, or there is no socket.
    pub(crate) const UNKNOWN: TcpState = TcpState(0);
    pub(crate) const TIME_WAIT: TcpState = TcpState(6);
    pub(crate) const CLOSED: TcpState = TcpState(7);
    pub(crate) const LISTEN: TcpState = TcpState(10);

    /// The name as the diagram spells it: `FIN_WAIT_2`.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            1 => "ESTABLISHED",
            2 => "SYN_SENT",
            3 => "SYN_RCVD",
            4 => "FIN_WAIT_1",
            5 => "FIN_WAIT_2",
            6 => "TIME_WAIT",
            7 => "CLOSED",
            8 => "CLOSE_WAIT",
            9 => "LAST_ACK",
            10 => "LISTEN",
            11 => "CLOSING",
            _ => "",
        }
    }
}

/// `struct tcp_info` of a socket. What the kernel does not say is 0: a field that it does not know, or
/// all of them, if it is no TCP socket.
pub(crate) fn tcp_info(sockfd: RawFd) -> libc::tcp_info {
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let mut len = size_of::<libc::tcp_info>() as socklen_t;
    // SAFETY: all fields are numbers, so each may be 0. The kernel writes at most `len` bytes to `info`.
    // A number that is no socket's is an error.
    unsafe {
        let mut info: libc::tcp_info = mem::zeroed();
        let _ = libc::getsockopt(sockfd, level, name, (&raw mut info).cast(), &raw mut len);
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_the_kernel_does_not_say_is_0() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let info = tcp_info(listener.as_raw_fd());
        assert_eq!(TcpState(info.tcpi_state).name(), "LISTEN");
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        for no_socket in [-1, reader.as_raw_fd()] {
            let info = tcp_info(no_socket);
            assert_eq!((info.tcpi_state, info.tcpi_unacked), (0, 0));
        }
    }
}
