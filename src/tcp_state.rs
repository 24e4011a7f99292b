//! The states of a TCP connection (TCP状态转换图), and what the kernel says of an open
//! socket (TCP_INFO).

use nix::libc::{self, socklen_t};
use std::os::fd::RawFd;

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

/// The state of an open TCP socket.
pub(crate) fn tcp_state(number: RawFd) -> TcpState {
    let [tcpi_state] = tcp_info(number);
    TcpState(tcpi_state)
}

/// How many complete connections wait in a listening socket's queue (listen函数).
pub(crate) fn complete_connections(listenfd: RawFd) -> u32 {
    number(&tcp_info::<28>(listenfd)[24..]) // tcpi_unacked: for a listening socket it is this number
}

/// How many bytes the peer has acknowledged since the connection began, if others that were
/// written are not acknowledged yet (TCP输出). Kernels before 4.6 do not know all of that.
pub(crate) fn acked_so_far(sockfd: RawFd) -> Option<u64> {
    let info = tcp_info::<148>(sockfd);
    let (tcpi_unacked, tcpi_notsent_bytes) = (number(&info[24..]), number(&info[144..]));
    let tcpi_bytes_acked = u64::from_ne_bytes(info[120..128].try_into().ok()?);
    (tcpi_unacked > 0 || tcpi_notsent_bytes > 0).then_some(tcpi_bytes_acked)
}

/// The first four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The first N bytes of `struct tcp_info`. What the kernel does not say is 0: a field that it does not
/// know, or all of them, if it is no TCP socket.
fn tcp_info<const N: usize>(sockfd: RawFd) -> [u8; N] {
    let mut info = [0; N];
    let (pointer, mut len) = (info.as_mut_ptr().cast(), N as socklen_t);
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the kernel writes at most `len` bytes to `info`. A number that is no socket's is an error.
    let _ = unsafe { libc::getsockopt(sockfd, level, name, pointer, &raw mut len) };
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_kernel_may_know_less_than_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let info = tcp_info::<10_000>(listener.as_raw_fd());
        assert_eq!(TcpState(info[0]).name(), "LISTEN");
        assert_eq!(info[9_000..], [0; 1_000]);
        assert_eq!(tcp_info::<148>(-1), [0; 148]);
    }
}
