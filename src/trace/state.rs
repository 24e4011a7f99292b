//! The state of a TCP connection (TCP状态转换图), as the kernel reports it: from the socket (TCP_INFO)
//! or, once the socket is closed, from the table of sockets that `ss` shows (sock_diag(7)).
//!
//! Looking up one connection is fast no matter how many connections exist, so even a state that
//! lasts only microseconds can be seen. Reading /proc/net/tcp would be too slow.

use nix::libc::{self, c_int, socklen_t};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read};
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

/// A state in the diagram, represented by its number in Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpState(u8);

impl TcpState {
    /// The kernel does not report the state, or there is no socket.
    pub(super) const UNKNOWN: TcpState = TcpState(0);
    pub(super) const TIME_WAIT: TcpState = TcpState(6);
    pub(super) const CLOSED: TcpState = TcpState(7);
    pub(super) const LISTEN: TcpState = TcpState(10);

    /// Returns the name as spelled in the diagram, such as `FIN_WAIT_2`; UNKNOWN has an empty name.
    pub(super) fn name(self) -> &'static str {
        // The names are in the order of the kernel's numbers, starting from 0.
        const NAMES: &str = " ESTABLISHED SYN_SENT SYN_RCVD FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT \
            CLOSED CLOSE_WAIT LAST_ACK LISTEN CLOSING";
        NAMES.split(' ').nth(self.0.into()).unwrap_or_default()
    }
}

/// The addresses of a connection: the local address, then the peer's address.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Returns the state of an open socket.
///
/// In TIME_WAIT, the kernel detaches the connection from its socket, even if the socket is still
/// open: the socket reports CLOSED, but the table has the actual state.
pub(super) fn state(number: RawFd, ends: Option<Ends>) -> TcpState {
    let [state] = getsockopt(number, libc::IPPROTO_TCP, libc::TCP_INFO); // tcpi_state comes first
    match (TcpState(state), ends) {
        (TcpState::CLOSED, Some(ends)) => find(ends),
        (state, _) => state,
    }
}

/// Returns the number of connections that are queued for accept on a listening socket.
pub(super) fn queued(listenfd: RawFd) -> u32 {
    const LEN: usize = offset_of!(libc::tcp_info, tcpi_unacked) + size_of::<u32>();
    let [.., a, b, c, d] = getsockopt::<LEN>(listenfd, libc::IPPROTO_TCP, libc::TCP_INFO);
    u32::from_ne_bytes([a, b, c, d])
}

/// Returns SO_COOKIE, a number that no other socket has, or 0 if the descriptor is not a socket.
pub(super) fn cookie(number: RawFd) -> u64 {
    u64::from_ne_bytes(getsockopt(number, libc::SOL_SOCKET, libc::SO_COOKIE))
}

/// Returns the first bytes of a socket option. All bytes are 0 if the kernel does not know the
/// option, or if the descriptor is not a socket.
fn getsockopt<const LEN: usize>(number: RawFd, level: c_int, name: c_int) -> [u8; LEN] {
    let mut value = [0; LEN];
    let mut len = LEN as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `value`. If the
    // descriptor is closed or is not a socket, the call returns an error.
    let _ = unsafe { libc::getsockopt(number, level, name, (&raw mut value).cast(), &raw mut len) };
    value
}

/// Returns the state of one end of a connection in the kernel's table. The state is CLOSED if the
/// kernel answers with an error, because the connection is not (or no longer) in the table or there
/// is no table, and UNKNOWN if the kernel cannot be queried.
pub(super) fn find(ends: Ends) -> TcpState {
    let answer = ask(ends).unwrap_or([0; 256]); // all 0 is UNKNOWN
    // The answer is a `struct nlmsghdr` followed by a `struct inet_diag_msg` or an error (ENOENT).
    let nlmsg_type = u16::from_ne_bytes([answer[4], answer[5]]);
    match (i32::from(nlmsg_type), TcpState(answer[17])) {
        // If the connection is gone, the kernel may report the listening socket instead.
        (libc::NLMSG_ERROR, _) | (_, TcpState::LISTEN) => TcpState::CLOSED,
        (_, idiag_state) => idiag_state,
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

/// Builds a `struct nlmsghdr` and a `struct inet_diag_req_v2`, field by field.
fn question((local, peer): Ends) -> Vec<u8> {
    // The kernel identifies an IPv4 connection by its IPv4 addresses, even on an IPv6 socket.
    let family = Domain::for_address(SocketAddr::new(local.ip().to_canonical(), 0));
    let octets = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(ip) => [ip.octets(), [0; 4], [0; 4], [0; 4]].concat(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let scope = match local {
        SocketAddr::V6(local) => local.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    [
        &72u32.to_ne_bytes()[..],                            // nlmsg_len
        &20u16.to_ne_bytes(),                                // nlmsg_type: SOCK_DIAG_BY_FAMILY
        &(libc::NLM_F_REQUEST as u16).to_ne_bytes(),         // nlmsg_flags
        &[0; 8],                                             // nlmsg_seq, nlmsg_pid
        &[i32::from(family) as u8, libc::IPPROTO_TCP as u8], // sdiag_family, sdiag_protocol
        &[0; 2],                                             // idiag_ext, pad
        &[0xFF; 4],                                          // idiag_states: any
        &local.port().to_be_bytes(),                         // idiag_sport
        &peer.port().to_be_bytes(),                          // idiag_dport
        &octets(local),                                      // idiag_src
        &octets(peer),                                       // idiag_dst
        &scope.to_ne_bytes(),                                // idiag_if
        &[0xFF; 8],                                          // idiag_cookie: INET_DIAG_NOCOOKIE
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::setsockopt;
    use nix::{setsockopt_impl, sockopt_impl};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
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

    /// With TCP_DEFER_ACCEPT, the listener ignores the third segment of the handshake, so the
    /// connection stays in the incomplete connection queue.
    #[test]
    fn an_entry_in_the_incomplete_connection_queue_is_in_syn_rcvd() {
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

    #[test]
    fn what_the_kernel_does_not_report_is_0() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(state(listener.as_raw_fd(), None).name(), "LISTEN");
        assert_ne!(cookie(listener.as_raw_fd()), 0);
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        for no_socket in [-1, reader.as_raw_fd()] {
            assert_eq!(state(no_socket, None), TcpState::UNKNOWN);
            assert_eq!((queued(no_socket), cookie(no_socket)), (0, 0));
        }
    }
}
