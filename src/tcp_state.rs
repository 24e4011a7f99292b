//! The kernel's word on a connection's state (TCP状态转换图).
//!
//! While a socket is open it is asked itself (TCP_INFO); once it is closed, only the
//! kernel's table of connections, /proc/net/tcp, still knows it.

use crate::error::sys_error;
use crate::wrapsock::{Getsockname, Sockfd};
use anyhow::{Context, Result};
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Type};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

/// The states of the documents' diagram, numbered as Linux numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the diagram explains them
pub enum TcpState {
    Established = 1,
    SynSent,
    SynRcvd,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl TcpState {
    fn from_number(number: u8) -> Option<TcpState> {
        use TcpState::*;
        Some(match number {
            1 => Established,
            2 => SynSent,
            // 12 is a SYN_RCVD that has no socket of its own yet.
            3 | 12 => SynRcvd,
            4 => FinWait1,
            5 => FinWait2,
            6 => TimeWait,
            7 => Closed,
            8 => CloseWait,
            9 => LastAck,
            10 => Listen,
            11 => Closing,
            _ => return None,
        })
    }

    /// The name in the diagram's spelling: `FIN_WAIT_2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TcpState::Established => "ESTABLISHED",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRcvd => "SYN_RCVD",
            TcpState::FinWait1 => "FIN_WAIT_1",
            TcpState::FinWait2 => "FIN_WAIT_2",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Closed => "CLOSED",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

// The beginning of `struct tcp_info`, through tcpi_unacked.
sockopt_impl!(
    /// getsockopt(2) with TCP_INFO.
    TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 28]
);

/// The state of an open socket: the first field of TCP_INFO.
///
/// A connection that goes on to TIME_WAIT leaves its socket, though that is open, and
/// the socket says CLOSED. Then the kernel's table is asked.
///
/// # Errors
/// `getsockopt error: TCP_INFO: …`, and those of [`find`].
pub fn tcp_state(sockfd: &Sockfd) -> Result<TcpState> {
    let number = tcp_info(sockfd)?[0];
    let state = TcpState::from_number(number);
    let state = state.with_context(|| format!("no TCP state has the number {number}"))?;
    match (state, sockfd.peer()) {
        (TcpState::Closed, Some(peer)) => {
            let entry = find(Getsockname(sockfd)?, Some(peer))?;
            Ok(entry.map_or(TcpState::Closed, |entry| entry.state))
        }
        _ => Ok(state),
    }
}

/// How many complete connections wait in a listening socket's queue for [`Accept`]
/// (listen函数): where a connection counts its unacknowledged segments, a listening
/// socket counts these.
///
/// # Errors
/// `getsockopt error: TCP_INFO: …`.
///
/// [`Accept`]: crate::Accept
pub fn complete_connections(listenfd: &Sockfd) -> Result<u32> {
    let [.., a, b, c, d] = tcp_info(listenfd)?;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

fn tcp_info(sockfd: &Sockfd) -> Result<[u8; 28]> {
    getsockopt(sockfd, TcpInfo).map_err(|why| sys_error("getsockopt error", "TCP_INFO", why))
}

/// One end of a connection, or a listening socket, in the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its state.
    pub state: TcpState,
    /// Whether a process still holds a descriptor of it.
    pub held: bool,
}

/// Looks one end of a connection up: the one whose own address is `local`. Without a
/// `peer`, the listening socket at `local`. `None`: the kernel knows it no more.
///
/// The table is the one that /proc/net/tcp shows. Asked by sock_diag(7), as `ss` does,
/// it tells of one connection at once, however many there are: a state that lasts for
/// microseconds can be seen.
///
/// # Errors
/// `sock_diag error: ADDRESS:PORT: …`.
pub fn find(local: SocketAddr, peer: Option<SocketAddr>) -> Result<Option<Entry>> {
    ask(local, peer).map_err(|why| sys_error("sock_diag error", local, why))
}

fn ask(local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Option<Entry>> {
    let mut kernel = socket2::Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    kernel.send(&question(local, peer))?;
    let mut answer = [0; 256];
    let n = kernel.read(&mut answer)?;
    let found = parse(&answer[..n])?;
    // Of a connection that is gone, the kernel offers the listening socket instead.
    Ok(found.filter(|entry| (entry.state == TcpState::Listen) == peer.is_none()))
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
fn question(local: SocketAddr, peer: Option<SocketAddr>) -> [u8; 72] {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    // A connection over IPv4 is known by its IPv4 addresses, on an IPv6 socket too.
    let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let (local_ip, local_port) = canonical(local);
    let octets = |ip: IpAddr| {
        let mut octets = [0; 16];
        match ip {
            IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => octets = ip.octets(),
        }
        octets
    };
    let family = match local_ip {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };

    let mut question = [0; 72];
    question[0..4].copy_from_slice(&72u32.to_ne_bytes()); // nlmsg_len
    question[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    question[16] = family as u8;
    question[17] = libc::IPPROTO_TCP as u8;
    question[20..24].fill(0xFF); // idiag_states: any
    question[24..26].copy_from_slice(&local_port.to_be_bytes());
    question[28..44].copy_from_slice(&octets(local_ip));
    if let Some((peer_ip, peer_port)) = peer.map(canonical) {
        question[26..28].copy_from_slice(&peer_port.to_be_bytes());
        question[44..60].copy_from_slice(&octets(peer_ip));
    }
    question[64..72].fill(0xFF); // idiag_cookie: INET_DIAG_NOCOOKIE
    question
}

/// A `struct nlmsghdr`, then a `struct inet_diag_msg` or an error number.
fn parse(answer: &[u8]) -> io::Result<Option<Entry>> {
    let word = |at: usize| -> io::Result<[u8; 4]> {
        let word = answer.get(at..at + 4).and_then(|word| word.try_into().ok());
        word.ok_or(ErrorKind::UnexpectedEof.into())
    };
    let [low, high, ..] = word(4)?;
    if i32::from(u16::from_ne_bytes([low, high])) == libc::NLMSG_ERROR {
        return match -i32::from_ne_bytes(word(16)?) {
            libc::ENOENT => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        };
    }
    let [_family, state, ..] = word(16)?;
    let held = word(84)? != [0; 4]; // idiag_inode
    let state = TcpState::from_number(state).ok_or(ErrorKind::InvalidData)?;
    Ok(Some(Entry { state, held }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Instant;

    #[test]
    fn the_kernel_is_asked_for_each_end_and_for_the_listener() {
        for any in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                continue; // a kernel without IPv6
            };
            let bound = listener.local_addr().unwrap();
            let to = match bound.ip() {
                ip if ip.is_unspecified() => format!("127.0.0.1:{}", bound.port()),
                _ => bound.to_string(),
            };
            let stream = TcpStream::connect(to).unwrap();
            let client = stream.local_addr().unwrap();
            let (connfd, cliaddr) = listener.accept().unwrap();
            let server = connfd.local_addr().unwrap();

            let comes_to = |local, peer, expected: Option<(TcpState, bool)>| {
                let expected = expected.map(|(state, held)| Entry { state, held });
                let start = Instant::now();
                while find(local, peer).unwrap() != expected {
                    assert!(start.elapsed().as_secs() < 10, "{any}: not {expected:?}");
                }
            };
            comes_to(bound, None, Some((TcpState::Listen, true)));
            comes_to(server, Some(cliaddr), Some((TcpState::Established, true)));
            comes_to(client, Some(server), Some((TcpState::Established, true)));
            stream.shutdown(Shutdown::Write).unwrap();
            comes_to(client, Some(server), Some((TcpState::FinWait2, true)));
            drop(stream);
            comes_to(client, Some(server), Some((TcpState::FinWait2, false)));
            comes_to(server, Some(cliaddr), Some((TcpState::CloseWait, true)));
            drop(connfd);
            comes_to(server, Some(cliaddr), None);
            comes_to(client, Some(server), Some((TcpState::TimeWait, false)));
            drop(listener);
            comes_to(bound, None, None);
        }
    }
}
