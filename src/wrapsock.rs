//! The socket calls used in the listings, and Inet_pton.
//!
//! In the book, the wrappers are in `lib/wrapsock.c`, and Inet_pton is in `lib/wraplib.c`. Each
//! wrapper makes a call, prints the call if the trace is on, and adds the book's words to an error.
//! (Getsockname is not traced, and Inet_pton only makes the call.)

use crate::error::err_ret;
use crate::sockfd::Sockfd;
use crate::trace::{print, print_state, sends, trace, trace_sleep};
use anyhow::{Context, Error, Result, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::unistd;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Shutdown as How, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::{thread, time::Duration};

/// The IPv4 address family, as in the listings.
pub const AF_INET: Domain = Domain::IPV4;

/// The IPv6 address family.
pub const AF_INET6: Domain = Domain::IPV6;

/// The socket type for a byte stream (TCP).
pub const SOCK_STREAM: Type = Type::STREAM;

/// The backlog in the listings: how many completed connections the kernel queues after [`Listen`].
pub const LISTENQ: i32 = 1024;

/// An argument to [`Shutdown`]: the read half of a connection.
pub const SHUT_RD: How = How::Read;

/// An argument to [`Shutdown`]: the write half of a connection (a half-close).
pub const SHUT_WR: How = How::Write;

/// An argument to [`Shutdown`]: both halves of a connection.
pub const SHUT_RDWR: How = How::Both;

/// Returns the family of an address, [`AF_INET`] or [`AF_INET6`], as an argument for [`Socket()`].
pub fn family(address: SocketAddr) -> Domain {
    Domain::for_address(address)
}

/// Parses an IPv4 or IPv6 address, as
/// [inet_pton(3)](https://man7.org/linux/man-pages/man3/inet_pton.3.html) does, and returns it with
/// port 0.
///
/// Examples: `127.0.0.1`, `::1`, `fe80::1%eth0` (scope by name), `fe80::1%2` (scope by number).
///
/// # Errors
/// The text is not an address, or names an interface that this host does not have. (Interface
/// numbers are not checked.)
pub fn Inet_pton(text: &str) -> Result<SocketAddr> {
    let no_address = "not an IP address (examples: 127.0.0.1, ::1)";
    let Some((ip, scope)) = text.split_once('%') else {
        return Ok(SocketAddr::new(text.parse().context(no_address)?, 0));
    };
    let number = if_nametoindex(scope).ok().or_else(|| scope.parse().ok());
    let number = number.with_context(|| format!("this host has no network interface {scope:?}"))?;
    Ok(SocketAddrV6::new(ip.parse().context(no_address)?, 0, 0, number).into())
}

/// Creates a socket with the given family, type and protocol:
/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) (Socket函数).
///
/// If `protocol` is 0, the kernel chooses TCP for [`SOCK_STREAM`]. The descriptor is close-on-exec.
///
/// # Errors
/// `socket error: FAMILY: …`: there are no free descriptors (`EMFILE`, `ENFILE`), or the kernel
/// does not support the family (`EAFNOSUPPORT`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// println!("{sockfd}"); // a small number, such as 3
/// # Ok(())
/// # }
/// ```
pub fn Socket(family: Domain, ty: Type, protocol: i32) -> Result<Sockfd> {
    let sockfd = Socket::new(family, ty, Some(protocol.into())).map(Sockfd);
    let made = sockfd.as_ref();
    let number = made.map(|sockfd| sockfd.0.as_raw_fd());
    trace!(made.ok(), number, "socket({family:?}, {ty:?}, {protocol})");
    sockfd.with_context(|| format!("socket error: {family:?}"))
}

/// Sets a socket option: [setsockopt(2)](https://man7.org/linux/man-pages/man2/setsockopt.2.html).
///
/// Some options must be set before [`Bind`] is called (without `SO_REUSEADDR`, a
/// [restarted server](crate::doc::without_the_line) finds its port in use). Many options are
/// inherited by each socket that [`Accept`] returns (listen函数).
///
/// # Errors
/// `setsockopt error: OPTION: …`.
pub fn Setsockopt(sockfd: &Sockfd, option: SocketOption, on: bool) -> Result<()> {
    let SocketOption(name, set) = option;
    let set = set(&sockfd.0, on);
    trace!(sockfd, set, "setsockopt({sockfd}, {name}, {on})");
    set.with_context(|| format!("setsockopt error: {name}"))
}

/// A socket option that [`Setsockopt`] turns on or off.
#[derive(Clone, Copy, Debug)]
pub struct SocketOption(&'static str, fn(&Socket, bool) -> io::Result<()>);

/// Allows [`Bind`] to use a port that still has connections in TIME_WAIT.
pub const SO_REUSEADDR: SocketOption = SocketOption("SO_REUSEADDR", Socket::set_reuse_address);

/// Makes the kernel send keepalive probes after two idle hours, and drop the connection if the
/// probes go unanswered for 11 minutes (Linux defaults).
pub const SO_KEEPALIVE: SocketOption = SocketOption("SO_KEEPALIVE", Socket::set_keepalive);

/// Disables the Nagle algorithm, so that the kernel sends the data from each write at once.
pub const TCP_NODELAY: SocketOption = SocketOption("TCP_NODELAY", Socket::set_tcp_nodelay);

/// Prevents an IPv6 socket from accepting IPv4 connections.
pub const IPV6_V6ONLY: SocketOption = SocketOption("IPV6_V6ONLY", Socket::set_only_v6);

/// Sets how long the peer may be idle, from 1 to 2,147,483 seconds, with the options SO_RCVTIMEO
/// ([socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)) and TCP_USER_TIMEOUT
/// ([tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html)).
///
/// If no data arrives within this time, [`str_echo`](crate::str_echo()) and
/// [`Readline`](crate::Readline) fail with `idle for …` ([`ErrorKind::TimedOut`]). If data sent to
/// the peer is not acknowledged within about this time, the kernel drops the connection, and the
/// next call fails with `ETIMEDOUT`. So a peer that reads very slowly is also disconnected if its
/// receive buffer stays full for the whole time.
///
/// The timeout also applies to the FIN, and replaces the keepalive timeout. If the link is down for
/// longer, the peer may learn only from its own keepalive probes that the connection is gone.
///
/// # Errors
/// `setsockopt error: SO_RCVTIMEO and TCP_USER_TIMEOUT: …`: the time is out of range.
pub fn set_idle_timeout(connfd: &Sockfd, seconds: u32) -> Result<()> {
    let names = "SO_RCVTIMEO and TCP_USER_TIMEOUT";
    let time = Duration::from_secs(seconds.into());
    let in_range = (1..=2_147_483).contains(&seconds); // the milliseconds must fit in a C int
    ensure!(
        in_range,
        "setsockopt error: {names}: {seconds}s is out of range"
    );
    let receive = connfd.0.set_read_timeout(Some(time));
    let both = receive.and_then(|()| connfd.0.set_tcp_user_timeout(Some(time)));
    trace!(connfd, both, "setsockopt({connfd}, {names}, {time:?})");
    both.with_context(|| format!("setsockopt error: {names}"))
}

/// Calls read(2) on a socket.
pub(crate) fn read(sockfd: &Sockfd, buf: &mut [u8]) -> io::Result<usize> {
    trace_sleep(sockfd, format_args!("read({sockfd})"));
    let n = unistd::read(sockfd, buf).map_err(|why| idle(sockfd, why));
    trace!(sockfd, n, "read({sockfd})");
    n
}

/// Converts an error from read. If SO_RCVTIMEO is set, `EAGAIN` becomes `idle for …`.
pub(crate) fn idle(sockfd: &Sockfd, why: Errno) -> io::Error {
    if why == Errno::EAGAIN {
        if let Ok(Some(time)) = sockfd.0.read_timeout() {
            return io::Error::new(ErrorKind::TimedOut, format!("idle for {time:?}"));
        }
    }
    why.into()
}

/// Performs the three-way handshake, and blocks until it is complete:
/// [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html) (connect函数, 三次握手).
///
/// If the socket is not bound, the kernel chooses the source address and an ephemeral port.
///
/// # Errors
/// `connect error: ADDRESS:PORT: …`: no server listens at this address (`ECONNREFUSED`), no host
/// answers (`ETIMEDOUT`), there is no route (`ENETUNREACH`, `EHOSTUNREACH`), or this host has no
/// free ephemeral ports (`EADDRNOTAVAIL`). In a program that has called [`Signal`](crate::Signal),
/// a signal may interrupt Connect (`EINTR`); in that case, call Connect again.
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Connect(&sockfd, server.local_addr()?)?;
/// println!("{}", Getsockname(&sockfd)?); // 127.0.0.1, and an ephemeral port
/// # Ok(())
/// # }
/// ```
pub fn Connect(sockfd: &Sockfd, servaddr: SocketAddr) -> Result<()> {
    let connect = || sockfd.0.connect(&servaddr.into());
    let connected = sends!(sockfd, connect, "connect({sockfd}, {servaddr})");
    connected.with_context(|| format!("connect error: {servaddr}"))
}

/// Assigns a local address and port to a socket:
/// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html) (bind函数).
///
/// If the port is 0, the kernel chooses a free port, which [`Getsockname`] returns.
///
/// # Errors
/// `bind error: ADDRESS:PORT: …`: another socket uses the port (`EADDRINUSE`), this host does not
/// have the address (`EADDRNOTAVAIL`), or a port below 1024 requires a privilege (`EACCES`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// assert_ne!(Getsockname(&listenfd)?.port(), 0);
/// # Ok(())
/// # }
/// ```
pub fn Bind(sockfd: &Sockfd, myaddr: SocketAddr) -> Result<()> {
    let bound = sockfd.0.bind(&myaddr.into());
    trace!(sockfd, bound, "bind({sockfd}, {myaddr})");
    bound.with_context(|| format!("bind error: {myaddr}"))
}

/// Makes a socket passive, so that its state changes from CLOSED to LISTEN:
/// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html) (listen函数).
///
/// `backlog` is the number of completed connections that the kernel queues until [`Accept`] takes
/// them. Linux limits this number to `net.core.somaxconn`, and queues one more than that. See
/// [the figures](crate::doc::figures).
///
/// # Errors
/// `listen error: …`: another socket already listens on this port (`EADDRINUSE`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// Listen(&listenfd, LISTENQ)?;
///
/// let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Connect(&sockfd, Getsockname(&listenfd)?)?; // completes before accept is called
/// # Ok(())
/// # }
/// ```
pub fn Listen(sockfd: &Sockfd, backlog: i32) -> Result<()> {
    let listens = sockfd.0.listen(backlog);
    trace!(sockfd, listens, "listen({sockfd}, {backlog})");
    listens.context("listen error")
}

/// Returns the local address and port of a socket:
/// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html).
///
/// # Errors
/// `getsockname error: DESCRIPTOR: …`: the socket is not an IPv4 or IPv6 socket (`EAFNOSUPPORT`).
pub fn Getsockname(sockfd: &Sockfd) -> Result<SocketAddr> {
    let name = sockfd.0.local_addr().and_then(internet);
    name.with_context(|| format!("getsockname error: {sockfd}"))
}

/// Closes one or both halves of a connection:
/// [shutdown(2)](https://man7.org/linux/man-pages/man2/shutdown.2.html).
///
/// [`SHUT_WR`] performs a half-close (四次挥手): the FIN follows all data already written, and this end
/// can still read.
///
/// # Errors
/// `shutdown error: …`: the socket is no longer connected (`ENOTCONN`).
pub fn Shutdown(sockfd: &Sockfd, how: How) -> Result<()> {
    let name = ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"][how as usize];
    let shutdown = || sockfd.0.shutdown(how);
    let shut = sends!(sockfd, shutdown, "shutdown({sockfd}, {name})");
    shut.context("shutdown error")
}

/// Takes the first connection from the completed connection queue, and blocks while the queue is
/// empty: [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html) (accept函数).
///
/// Accept supports IPv4 and IPv6, and returns a new close-on-exec descriptor and the client's
/// address. If a signal interrupts the call (`EINTR`), Accept restarts it. So a handler that only
/// sets a flag does not end the wait; instead, shut down the listening socket in the handler. After
/// a transient error, such as having no free descriptors, Accept prints the first error and retries
/// every 100 ms.
///
/// # Errors
/// `accept error: …`: the socket can never accept a connection (`EINVAL`, `EBADF`, `ENOTSOCK`,
/// `EOPNOTSUPP`), or the socket is non-blocking and the queue is empty (`EAGAIN`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// Listen(&listenfd, LISTENQ)?;
/// let client = std::net::TcpStream::connect(Getsockname(&listenfd)?)?;
///
/// let (connfd, cliaddr) = Accept(&listenfd)?;
/// assert_eq!(cliaddr, client.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub fn Accept(listenfd: &Sockfd) -> Result<(Sockfd, SocketAddr)> {
    let mut is_first = true;
    loop {
        trace_sleep(listenfd, format_args!("accept({listenfd})"));
        let accepted = listenfd.0.accept();
        let number = accepted.as_ref().map(|(connfd, _)| connfd.as_raw_fd());
        trace!(listenfd, number, "accept({listenfd})");
        let why = match accepted {
            Ok((connfd, cliaddr)) => {
                let connfd = Sockfd(connfd);
                print_state(&connfd);
                return Ok((connfd, internet(cliaddr).context("accept error")?));
            }
            Err(why) => why,
        };
        use Errno::*;
        match Errno::from_raw(why.raw_os_error().unwrap_or_default()) {
            EINTR => continue,
            EAGAIN | EBADF | EINVAL | ENOTSOCK | EOPNOTSUPP => {
                return Err(why).context("accept error");
            }
            _ if is_first => err_ret(&Error::new(why).context("accept error")),
            _ => {}
        }
        is_first = false;
        print("nanosleep sleeps for 0.1 s");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Converts the kernel's socket address to the standard library's type.
fn internet(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or(Errno::EAFNOSUPPORT.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::OwnedFd;

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

    fn listening() -> Sockfd {
        let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
        Listen(&listenfd, LISTENQ).unwrap();
        listenfd
    }

    #[test]
    fn accept_returns_the_errors_that_do_not_pass() {
        let bound = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
        let datagrams = Socket(AF_INET, Type::DGRAM, 0).unwrap();
        let shut_down = listening();
        Shutdown(&shut_down, SHUT_RDWR).unwrap(); // a signal handler may also do this
        let non_blocking = listening();
        non_blocking.0.set_nonblocking(true).unwrap();
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        for (sockfd, errno) in [
            (bound, Errno::EINVAL),
            (shut_down, Errno::EINVAL),
            (datagrams, Errno::EOPNOTSUPP),
            (non_blocking, Errno::EAGAIN),
            (Sockfd(file.into()), Errno::ENOTSOCK),
        ] {
            let error = Accept(&sockfd).unwrap_err();
            assert_eq!(error.to_string(), "accept error");
            let why = error.downcast_ref::<io::Error>().unwrap();
            assert_eq!(why.raw_os_error(), Some(errno as i32));
        }
    }

    #[test]
    fn an_idle_timeout_out_of_range_changes_no_option() {
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        for seconds in [0, 2_147_484, u32::MAX] {
            let error = set_idle_timeout(&sockfd, seconds).unwrap_err();
            let said = "setsockopt error: SO_RCVTIMEO and TCP_USER_TIMEOUT";
            assert_eq!(
                error.to_string(),
                format!("{said}: {seconds}s is out of range")
            );
            assert_eq!(sockfd.0.read_timeout().unwrap(), None);
            assert_eq!(sockfd.0.tcp_user_timeout().unwrap(), None);
        }
        set_idle_timeout(&sockfd, 2_147_483).unwrap();
    }

    #[test]
    fn an_idle_read_names_the_timeout() {
        let listenfd = listening();
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Connect(&sockfd, Getsockname(&listenfd).unwrap()).unwrap();
        let time = Some(Duration::from_millis(20));
        sockfd.0.set_read_timeout(time).unwrap();
        let error = read(&sockfd, &mut [0]).unwrap_err();
        assert_eq!(error.to_string(), "idle for 20ms");
        sockfd.0.set_read_timeout(None).unwrap();
        sockfd.0.set_nonblocking(true).unwrap();
        let error = read(&sockfd, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
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
