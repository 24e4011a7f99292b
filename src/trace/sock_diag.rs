//! What the kernel's table of sockets says (sock_diag(7)): the table that `ss` shows, and
//! that still knows a connection after its socket was closed.
//!
//! The answer for one connection comes at once, however many there are, so that a state
//! which lasts for microseconds can be seen. To read /proc/net/tcp takes too long for that.

use super::tcp_state::{TcpState, tcp_info};
use nix::libc;
use socket2::{Domain, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

/// The addresses of both ends of a connection: its own, and the peer's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// The state of one end of a connection. It is CLOSED if the kernel answers with an error: it does not
/// know the connection (any more), or has no such table. It is UNKNOWN if the kernel cannot be asked.
pub(crate) fn find(ends: Ends) -> TcpState {
    let answer = ask(ends).unwrap_or([0; 256]); // all 0 is UNKNOWN
    // A `struct nlmsghdr`, then a `struct inet_diag_msg` or an error number (ENOENT).
    let nlmsg_type = u16::from_ne_bytes([answer[4], answer[5]]);
    match (i32::from(nlmsg_type), TcpState(answer[17])) {
        // For a connection that is gone, the kernel may offer the listening socket instead.
        (libc::NLMSG_ERROR, _) | (_, TcpState::LISTEN) => TcpState::CLOSED,
        (_, idiag_state) => idiag_state,
    }
}

/// The state of an open socket.
///
/// In TIME_WAIT the kernel detaches the connection from its socket, also if that is open:
/// the socket says CLOSED, and the table knows better.
pub(crate) fn state(number: RawFd, ends: Option<Ends>) -> TcpState {
    match (TcpState(tcp_info(number).tcpi_state), ends) {
        (TcpState::CLOSED, Some(ends)) => find(ends),
        (state, _) => state,
    }
}

fn ask(ends: Ends) -> io::Result<[u8; 256]> {
    let (family, protocol) = (libc::AF_NETLINK.into(), libc::NETLINK_SOCK_DIAG.into());
    let mut kernel = Socket::new(family, Type::DGRAM, Some(protocol))?;
    kernel.send(&question(ends))?;
    let mut answer = [0; 256];
    let _ = kernel.read(&mut answer)?; // the answer is one datagram
    Ok(answer)
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
fn question((local, peer): Ends) -> [u8; 72] {
    // The kernel knows a connection over IPv4 by its IPv4 addresses, on an IPv6 socket too.
    let family = Domain::for_address(SocketAddr::new(local.ip().to_canonical(), 0));
    let octets = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(ip) => [&ip.octets()[..], &[0; 12]].concat(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut question = [0; 72];
    question[0..4].copy_from_slice(&72u32.to_ne_bytes()); // nlmsg_len
    question[4..6].copy_from_slice(&20u16.to_ne_bytes()); // SOCK_DIAG_BY_FAMILY
    question[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    question[16] = i32::from(family) as u8;
    question[17] = libc::IPPROTO_TCP as u8;
    question[20..24].fill(0xFF); // idiag_states: any
    question[24..26].copy_from_slice(&local.port().to_be_bytes());
    question[26..28].copy_from_slice(&peer.port().to_be_bytes());
    question[28..44].copy_from_slice(&octets(local));
    question[44..60].copy_from_slice(&octets(peer));
    if let SocketAddr::V6(local) = local {
        question[60..64].copy_from_slice(&local.scope_id().to_ne_bytes()); // idiag_if
    }
    question[64..72].fill(0xFF); // idiag_cookie: INET_DIAG_NOCOOKIE
    question
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::setsockopt;
    use nix::{setsockopt_impl, sockopt_impl};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Instant;

    #[test]
    fn the_kernel_is_asked_for_each_end() {
        for any in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                continue; // this host has no IPv6
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

            let comes_to = |local, peer, expected: &str| {
                let start = Instant::now();
                while find((local, peer)).name() != expected {
                    assert!(start.elapsed().as_secs() < 10, "{any}: not {expected}");
                }
            };
            comes_to(server, cliaddr, "ESTABLISHED");
            comes_to(client, server, "ESTABLISHED");
            stream.shutdown(Shutdown::Write).unwrap();
            comes_to(client, server, "FIN_WAIT_2");
            comes_to(server, cliaddr, "CLOSE_WAIT");
            drop(stream);
            drop(connfd);
            comes_to(server, cliaddr, "CLOSED");
            comes_to(client, server, "TIME_WAIT");
        }
    }

    /// With this option the listener ignores the third segment, so that the entry stays in the
    /// queue of incomplete connections.
    #[test]
    fn an_entry_of_the_incomplete_queue_is_in_syn_rcvd() {
        sockopt_impl!(
            DeferAccept,
            SetOnly,
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            u32
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        setsockopt(&listener, DeferAccept, &60).unwrap();
        let server = listener.local_addr().unwrap();
        let stream = TcpStream::connect(server).unwrap();
        let client = stream.local_addr().unwrap();
        assert_eq!(find((server, client)).name(), "SYN_RCVD");
        assert_eq!(find((client, server)).name(), "ESTABLISHED");
    }

    #[test]
    fn a_client_that_finds_the_queue_full_is_in_syn_sent() {
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = tcp();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let server = listener.local_addr().unwrap();
        let (first, second) = (tcp(), tcp());
        first.connect(&server).unwrap();
        second.set_nonblocking(true).unwrap();
        assert!(second.connect(&server).is_err(), "in progress");
        let client = second.local_addr().unwrap().as_socket().unwrap();
        let state = find((client, server.as_socket().unwrap()));
        assert_eq!(state.name(), "SYN_SENT");
    }

    #[test]
    fn what_the_kernel_does_not_know_is_closed() {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let local = bound.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(find((local, local)).name(), "CLOSED");
    }
}
