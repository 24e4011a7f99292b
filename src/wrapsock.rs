//! The socket calls of the listings, and Inet_pton.
//!
//! The book's `lib/wrapsock.c`; Inet_pton is in its `lib/wraplib.c`. Each wrapper makes the call,
//! prints it under a trace (but for Getsockname), and adds the book's words to an error. (Inet_pton only
//! makes the call.)

use crate::error::err_ret;
use crate::sockfd::Sockfd;
use crate::trace::{print, print_state, sends, trace, trace_sleep};
use anyhow::{Context, Error, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Shutdown as How, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::{thread, time::Duration};

/// IPv4, as in the listings.
pub const AF_INET: Domain = Domain::IPV4;

/// A byte stream: TCP.
pub const SOCK_STREAM: Type = Type::STREAM;

/// How many complete connections the kernel queues: the second argument of [`Listen`].
pub const LISTENQ: i32 = 1024;

/// The half-close: the second argument of [`Shutdown`].
pub const SHUT_WR: How = How::Write;

/// The first argument of [`Socket()`] for an address: [`AF_INET`], or AF_INET6.
pub fn family(address: SocketAddr) -> Domain {
    Domain::for_address(address)
}

/// inet_pton(3): the address that a text means, with port 0. It takes IPv4 and IPv6, and
/// an IPv6 scope by name or number: `127.0.0.1`, `::1`, `fe80::1%eth0`, `fe80::1%2`.
///
/// # Errors
/// The text is no address, or names an interface that this host does not have. (A number is not checked.)
pub fn Inet_pton(text: &str) -> Result<SocketAddr> {
    let no_address = "not an IP address (examples: 127.0.0.1, ::1)";
    let Some((ip, scope)) = text.split_once('%') else {
        return Ok(SocketAddr::new(text.parse().context(no_address)?, 0));
    };
    let number = if_nametoindex(scope).ok().or_else(|| scope.parse().ok());
    let number = number.with_context(|| format!("this host has no network interface {scope:?}"))?;
    Ok(SocketAddrV6::new(ip.parse().context(no_address)?, 0, 0, number).into())
}

/// socket(2): a new socket of the given family, type and protocol (Socket函数).
///
/// Protocol 0 lets the kernel choose: TCP for [`SOCK_STREAM`]. The descriptor is close-on-exec.
///
/// # Errors
/// `socket error: FAMILY: …`: no descriptor is left (`EMFILE`, `ENFILE`), the kernel has no
/// such family (`EAFNOSUPPORT`).
pub fn Socket(family: Domain, ty: Type, protocol: i32) -> Result<Sockfd> {
    let sockfd = Socket::new(family, ty, Some(protocol.into())).map(Sockfd);
    let made = sockfd.as_ref();
    let number = made.map(|sockfd| sockfd.0.as_raw_fd());
    trace!(made.ok(), number, "socket({family:?}, {ty:?}, {protocol})");
    sockfd.with_context(|| format!("socket error: {family:?}"))
}

/// setsockopt(2): sets a socket option.
///
/// Some must be set before [`Bind`] (`SO_REUSEADDR`: [without it](crate::doc::without_the_line) a
/// restart finds its port in use). Many are copied to each socket that [`Accept`] returns (listen函数).
///
/// # Errors
/// `setsockopt error: OPTION: …`.
pub fn Setsockopt(sockfd: &Sockfd, option: SocketOption, on: bool) -> Result<()> {
    let SocketOption(name, set) = option;
    let set = set(&sockfd.0, on);
    trace!(sockfd, set, "setsockopt({sockfd}, {name}, {on})");
    set.with_context(|| format!("setsockopt error: {name}"))
}

/// The second argument of [`Setsockopt`].
#[derive(Clone, Copy, Debug)]
pub struct SocketOption(&'static str, fn(&Socket, bool) -> io::Result<()>);

/// [`Bind`] may take a port that is in TIME_WAIT.
pub const SO_REUSEADDR: SocketOption = SocketOption("SO_REUSEADDR", Socket::set_reuse_address);

/// When nothing has come for two hours, the kernel asks the peer's host. If no answer comes
/// for 11 minutes, the connection ends (Linux's times).
pub const SO_KEEPALIVE: SocketOption = SocketOption("SO_KEEPALIVE", Socket::set_keepalive);

/// The kernel sends each write at once (no Nagle algorithm).
pub const TCP_NODELAY: SocketOption = SocketOption("TCP_NODELAY", Socket::set_tcp_nodelay);

/// An IPv6 socket takes no IPv4 connections.
pub const IPV6_V6ONLY: SocketOption = SocketOption("IPV6_V6ONLY", Socket::set_only_v6);

/// SO_RCVTIMEO and TCP_USER_TIMEOUT: how long the peer may be idle, from 1 to 2,147,483 seconds.
///
/// If nothing comes for so long, [`str_echo`](crate::str_echo()) and [`Readline`](crate::Readline) fail with
/// `idle for N s` ([`ErrorKind::TimedOut`]). If the peer takes nothing that was sent to it for about as long,
/// the kernel ends the connection, and the next call fails with `ETIMEDOUT`. So a peer that reads very
/// slowly is ended, too: one whose receive buffer stays full for the whole time. (Keepalive also uses this
/// time instead of its own.)
///
/// # Errors
/// `setsockopt error: SO_RCVTIMEO and TCP_USER_TIMEOUT: …`.
pub fn set_idle_timeout(connfd: &Sockfd, seconds: u32) -> Result<()> {
    let time = Some(Duration::from_secs(seconds.into()));
    let receive = connfd.0.set_read_timeout(time);
    let both = receive.and_then(|()| connfd.0.set_tcp_user_timeout(time));
    let names = "SO_RCVTIMEO and TCP_USER_TIMEOUT";
    trace!(connfd, both, "setsockopt({connfd}, {names}, {seconds} s)");
    both.with_context(|| format!("setsockopt error: {names}"))
}

/// The error of a read. `EAGAIN` means `idle for …` on a socket that has SO_RCVTIMEO.
pub(crate) fn idle(sockfd: &Sockfd, why: Errno) -> io::Error {
    if why == Errno::EAGAIN {
        if let Ok(Some(time)) = sockfd.0.read_timeout() {
            let idle = format!("idle for {} s", time.as_secs());
            return io::Error::new(ErrorKind::TimedOut, idle);
        }
    }
    why.into()
}

/// connect(2): makes the three-way handshake, and sleeps until it is done (connect函数,
/// 三次握手).
///
/// Without a bind the kernel chooses the source address and an ephemeral port.
///
/// # Errors
/// `connect error: ADDRESS:PORT: …`: nobody listens there (`ECONNREFUSED`), nobody answers
/// (`ETIMEDOUT`), there is no route (`ENETUNREACH`, `EHOSTUNREACH`), a signal with a handler came (`EINTR`).
pub fn Connect(sockfd: &Sockfd, servaddr: SocketAddr) -> Result<()> {
    let connect = || sockfd.0.connect(&servaddr.into());
    let connected = sends!(sockfd, connect, "connect({sockfd}, {servaddr})");
    connected.with_context(|| format!("connect error: {servaddr}"))
}

/// bind(2): gives a socket its local address and port (bind函数).
///
/// With port 0 the kernel chooses a free port, and [`Getsockname`] says which.
///
/// # Errors
/// `bind error: ADDRESS:PORT: …`: somebody has it (`EADDRINUSE`), it is no address of
/// this host (`EADDRNOTAVAIL`), a port below 1024 needs a privilege (`EACCES`).
pub fn Bind(sockfd: &Sockfd, myaddr: SocketAddr) -> Result<()> {
    let bound = sockfd.0.bind(&myaddr.into());
    trace!(sockfd, bound, "bind({sockfd}, {myaddr})");
    bound.with_context(|| format!("bind error: {myaddr}"))
}

/// listen(2): makes a socket passive, from CLOSED to LISTEN (listen函数).
///
/// `backlog` is how many complete connections the kernel queues until [`Accept`] takes
/// them. Linux lowers it to `net.core.somaxconn` if it is larger, and queues one more than that. See
/// [the pictures](crate::doc::pictures).
///
/// # Errors
/// `listen error: …`: another socket listens there (`EADDRINUSE`).
pub fn Listen(sockfd: &Sockfd, backlog: i32) -> Result<()> {
    let listens = sockfd.0.listen(backlog);
    trace!(sockfd, listens, "listen({sockfd}, {backlog})");
    listens.context("listen error")
}

/// getsockname(2): the local address and port of a socket.
///
/// # Errors
/// `getsockname error: DESCRIPTOR: …`: it is no socket of IPv4 or IPv6 (`EAFNOSUPPORT`).
pub fn Getsockname(sockfd: &Sockfd) -> Result<SocketAddr> {
    let name = sockfd.0.local_addr().and_then(internet);
    name.with_context(|| format!("getsockname error: {sockfd}"))
}

/// shutdown(2). With [`SHUT_WR`] it is the half-close (四次挥手): the FIN goes out behind all
/// that was written, and this end can still read.
///
/// # Errors
/// `shutdown error: …`: it is not connected any more (`ENOTCONN`).
pub fn Shutdown(sockfd: &Sockfd, how: How) -> Result<()> {
    let name = ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"][how as usize];
    let shutdown = || sockfd.0.shutdown(how);
    let shut = sends!(sockfd, shutdown, "shutdown({sockfd}, {name})");
    shut.context("shutdown error")
}

/// accept(2): takes the first connection of the queue of complete connections, and sleeps
/// while there is none (accept函数).
///
/// Returns a new descriptor, close-on-exec, and the client's address. After a signal (`EINTR`) Accept
/// calls accept again. After an error that passes, such as no free descriptor, it prints the first one,
/// and calls accept again every 100 ms.
///
/// # Errors
/// `accept error: …`: the socket does not listen (`EINVAL`; datagrams: `EOPNOTSUPP`).
pub fn Accept(listenfd: &Sockfd) -> Result<(Sockfd, SocketAddr)> {
    let mut has_printed = false;
    loop {
        trace_sleep(listenfd, format_args!("accept({listenfd})"));
        let accepted = listenfd.0.accept();
        let number = accepted.as_ref().map(|(connfd, _)| connfd.as_raw_fd());
        trace!(listenfd, number, "accept({listenfd})");
        match accepted {
            Ok((connfd, cliaddr)) => {
                let connfd = Sockfd(connfd);
                print_state(&connfd);
                return Ok((connfd, internet(cliaddr).context("accept error")?));
            }
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            Err(why) => {
                let error = Error::new(why).context("accept error");
                if !listenfd.0.is_listener().unwrap_or(true) {
                    return Err(error);
                }
                if !has_printed {
                    err_ret(&error);
                    has_printed = true;
                }
                print("nanosleep sleeps, for 0.1 s");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// The kernel's socket address as the standard library has it.
fn internet(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or(Errno::EAFNOSUPPORT.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_scope_by_name_or_by_number() {
        let text = |address: SocketAddr| address.to_string();
        assert_eq!(text(Inet_pton("127.0.0.1").unwrap()), "127.0.0.1:0");
        assert_eq!(text(Inet_pton("::1").unwrap()), "[::1]:0");
        let interfaces = nix::net::if_::if_nameindex().unwrap();
        let lo = interfaces.iter().next().unwrap();
        for scope in [lo.name().to_str().unwrap(), &lo.index().to_string()] {
            let address = Inet_pton(&format!("fe80::1%{scope}")).unwrap();
            assert_eq!(text(address), format!("[fe80::1%{}]:0", lo.index()));
        }
        for wrong in [
            "",
            "localhost",
            "127.0.0.1%lo",
            "fe80::1%",
            "fe80::1%nonsense",
        ] {
            assert!(Inet_pton(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_socket_that_can_never_accept_is_an_error() {
        let bound = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
        let datagrams = Socket(AF_INET, Type::DGRAM, 0).unwrap();
        for (sockfd, errno) in [(bound, Errno::EINVAL), (datagrams, Errno::EOPNOTSUPP)] {
            let error = Accept(&sockfd).unwrap_err();
            assert_eq!(error.to_string(), "accept error");
            let why = error.downcast_ref::<io::Error>().unwrap();
            assert_eq!(why.raw_os_error(), Some(errno as i32));
        }
    }

    #[test]
    fn an_error_has_the_call_its_argument_and_the_reason() {
        let text = |error: Error| format!("{error:#}");
        let any = "127.0.0.1:0".parse().unwrap();
        let (one, other) = (
            Socket(AF_INET, SOCK_STREAM, 0),
            Socket(AF_INET, SOCK_STREAM, 0),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        Setsockopt(&one, SO_REUSEADDR, true).unwrap();
        Setsockopt(&other, SO_REUSEADDR, true).unwrap();
        Bind(&one, any).unwrap();
        let address = Getsockname(&one).unwrap();
        Bind(&other, address).unwrap();
        Listen(&one, 1).unwrap();
        let why = io::Error::from(Errno::EADDRINUSE);
        let listen = text(Listen(&other, 1).unwrap_err());
        assert_eq!(listen, format!("listen error: {why}"));

        let local = Socket(Domain::UNIX, SOCK_STREAM, 0).unwrap();
        let why = io::Error::from(Errno::EAFNOSUPPORT);
        let name = text(Getsockname(&local).unwrap_err());
        assert_eq!(name, format!("getsockname error: {local}: {why}"));

        let option = text(Setsockopt(&local, TCP_NODELAY, true).unwrap_err());
        assert!(
            option.starts_with("setsockopt error: TCP_NODELAY: "),
            "{option}"
        );

        let why = io::Error::from(Errno::ENOTCONN);
        let shut = text(Shutdown(&other, SHUT_WR).unwrap_err());
        assert_eq!(shut, format!("shutdown error: {why}"));
    }
}
