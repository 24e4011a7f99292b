//! The states of a TCP connection (TCP状态转换图), and what the kernel says of an open
//! socket (TCP_INFO).

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use std::io;
use std::os::fd::AsFd;

/// A state of the documents' diagram, by the number that Linux gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpState(pub(crate) u8);

impl TcpState {
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
            _ => "unknown",
        }
    }
}

/// The beginning of `struct tcp_info`, through tcpi_notsent_bytes.
type Info = [u8; 148];

sockopt_impl!(
    /// getsockopt(2) with TCP_INFO.
    TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, Info
);

/// The state of an open TCP socket.
pub(crate) fn tcp_state(sockfd: &impl AsFd) -> io::Result<TcpState> {
    Ok(TcpState(getsockopt(sockfd, TcpInfo)?[0]))
}

/// How many complete connections wait in a listening socket's queue (listen函数).
///
/// For a listening socket Linux puts this number into tcpi_unacked.
pub(crate) fn complete_connections(listenfd: &impl AsFd) -> io::Result<u32> {
    Ok(unacked(&getsockopt(listenfd, TcpInfo)?))
}

/// How many bytes the peer has acknowledged since the connection began, if others that were
/// written are not acknowledged yet (TCP输出).
pub(crate) fn acked_so_far(sockfd: &impl AsFd) -> Option<u64> {
    let info = getsockopt(sockfd, TcpInfo).ok()?;
    let [.., a, b, c, d] = info; // tcpi_notsent_bytes
    let all_acked = unacked(&info) == 0 && [a, b, c, d] == [0; 4];
    let tcpi_bytes_acked = info[120..128].try_into().ok()?;
    (!all_acked).then(|| u64::from_ne_bytes(tcpi_bytes_acked))
}

fn unacked(info: &Info) -> u32 {
    u32::from_ne_bytes([info[24], info[25], info[26], info[27]])
}
