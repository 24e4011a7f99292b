//! The socket calls of the listings, and what must be right around each.
//!
//! The book's `lib/wrapsock.c`.

use crate::error::{err_ret, sys_error};
use crate::idle::{IdleTimeout, MAX_IDLE_TIMEOUT};
use crate::tcp_state::complete_connections;
use crate::trace::trace;
use anyhow::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::sys::socket::{SetSockOpt, setsockopt};
use socket2::{Domain, Protocol, SockAddr, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// A socket descriptor that remembers whom it talks to.
///
/// The `sockfd`, `listenfd` and `connfd` of the listings. It owns its
/// descriptor, so [`Close`](crate::Close) can take it away for good, and it
/// keeps the peer's address from [`Connect`] or [`Accept`]: after a reset the
/// kernel knows that address no more, but the error message still should.
#[derive(Debug)]
pub struct Sockfd {
    socket: socket2::Socket,
    peer: Option<SocketAddr>,
    idle_timeout: Option<Duration>,
}

impl Sockfd {
    /// The address at the other end, if this socket was connected or accepted.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Sets how long the peer may neither send nor take anything before
    /// [`str_echo()`](crate::str_echo()) and [`Writen`](crate::Writen) let it go with an
    /// [`IdleTimeout`]. A connected socket takes this, too, from the listening one.
    ///
    /// That nothing is taken is TCP_USER_TIMEOUT, and what the kernel can see of it: a
    /// peer whose receive buffer is full takes nothing until it has made room for a
    /// segment, however few bytes it reads before.
    ///
    /// At most [`MAX_IDLE_TIMEOUT`].
    ///
    /// # Errors
    /// `setsockopt error: …`.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(|timeout| timeout.min(MAX_IDLE_TIMEOUT));
        let millis = timeout.map_or(0, |timeout| timeout.as_millis() as u32);
        Setsockopt(self, TcpUserTimeout, &millis)?;
        self.idle_timeout = timeout;
        Ok(())
    }

    /// See [`set_idle_timeout`](Sockfd::set_idle_timeout).
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// The error of a call on this connection.
    pub(crate) fn error(&self, what: &str, errno: Errno) -> Error {
        match (errno, self.peer, self.idle_timeout) {
            (Errno::ETIMEDOUT, Some(peer), Some(timeout)) => IdleTimeout { peer, timeout }.into(),
            _ => sys_error(what, self.with(), errno),
        }
    }

    /// The peer's address for a message.
    fn with(&self) -> String {
        match self.peer {
            Some(peer) => peer.to_string(),
            None => "not connected".to_owned(),
        }
    }

    /// SO_RCVTIMEO: how long a read sleeps at the most before it fails with `EAGAIN`.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        let set = self.socket.set_read_timeout(timeout);
        set.map_err(|why| sys_error("setsockopt error", self.with(), why))
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

impl From<Sockfd> for OwnedFd {
    fn from(sockfd: Sockfd) -> Self {
        sockfd.socket.into()
    }
}

/// socket(2): a new socket of the given family, type and protocol (Socket函数).
///
/// Protocol 0 lets the kernel choose: TCP for [`SOCK_STREAM`](crate::SOCK_STREAM).
/// Close-on-exec is set.
///
/// # Errors
/// `socket error: FAMILY: …`, as when no descriptor is left (`EMFILE`, `ENFILE`).
pub fn Socket(family: Domain, ty: Type, protocol: i32) -> Result<Sockfd> {
    let chosen = (protocol != 0).then(|| Protocol::from(protocol));
    let socket = socket2::Socket::new(family, ty, chosen)
        .map_err(|why| sys_error("socket error", format_args!("{family:?}"), why))?;
    let sockfd = Sockfd {
        socket,
        peer: None,
        idle_timeout: None,
    };
    trace!(&sockfd, "socket({family:?}, {ty:?}, {protocol}) = {sockfd}");
    Ok(sockfd)
}

/// setsockopt(2): sets a socket option. Some are best set before [`Bind`]
/// (`SO_REUSEADDR`), some are inherited by every socket that [`Accept`] returns.
///
/// # Errors
/// `setsockopt error: OPTION: …`.
pub fn Setsockopt<O>(sockfd: &Sockfd, option: O, value: &O::Val) -> Result<()>
where
    O: SetSockOpt + fmt::Debug + Copy,
{
    let set = setsockopt(sockfd, option, value);
    set.map_err(|why| sys_error("setsockopt error", format_args!("{option:?}"), why))
}

/// connect(2): the three-way handshake, and the wait for its end (connect函数).
///
/// Without a bind the kernel picks the source address and an ephemeral port. A
/// connect that a signal interrupts is called again: Linux takes up the same
/// handshake and returns once it is done.
///
/// # Errors
/// `connect error: ADDRESS:PORT: …`: nobody listens (`ECONNREFUSED`), nobody
/// answers (`ETIMEDOUT`), no way there (`ENETUNREACH`, `EHOSTUNREACH`).
pub fn Connect(sockfd: &mut Sockfd, servaddr: SocketAddr) -> Result<()> {
    let address = SockAddr::from(servaddr);
    loop {
        match sockfd.socket.connect(&address) {
            Ok(()) => break,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => {
                trace!(&*sockfd, "connect({sockfd}) = -1, {why}");
                return Err(sys_error("connect error", servaddr, why));
            }
        }
    }
    sockfd.peer = Some(servaddr);
    trace!(
        &*sockfd,
        "connect({sockfd}) = 0, {} -> {servaddr}",
        local(sockfd)
    );
    Ok(())
}

/// bind(2): gives a socket its local address and port (bind函数). Port 0 takes any
/// free port, which [`Getsockname`] then tells.
///
/// # Errors
/// `bind error: ADDRESS:PORT: …`: taken (`EADDRINUSE`), not an address of this
/// host (`EADDRNOTAVAIL`), a port below 1024 without the right to it (`EACCES`).
pub fn Bind(sockfd: &Sockfd, myaddr: SocketAddr) -> Result<()> {
    let bound = sockfd.socket.bind(&myaddr.into());
    if let Err(why) = &bound {
        trace!(sockfd, "bind({sockfd}, {myaddr}) = -1, {why}");
    }
    bound.map_err(|why| sys_error("bind error", myaddr, why))?;
    trace!(sockfd, "bind({sockfd}, {myaddr}) = 0");
    Ok(())
}

/// listen(2): makes a socket passive, from CLOSED to LISTEN (listen函数).
///
/// `backlog` bounds the queue of complete connections that nobody has accepted
/// yet. Linux holds one more than that, and never more than
/// `net.core.somaxconn` says.
///
/// # Errors
/// `listen error: ADDRESS:PORT: …`, as when another socket listens there already
/// (`EADDRINUSE`).
pub fn Listen(sockfd: &Sockfd, backlog: i32) -> Result<()> {
    let listens = sockfd.socket.listen(backlog);
    if let Err(why) = &listens {
        trace!(sockfd, "listen({sockfd}, {backlog}) = -1, {why}");
    }
    listens.map_err(|why| sys_error("listen error", local(sockfd), why))?;
    trace!(sockfd, "listen({sockfd}, {backlog}) = 0");
    Ok(())
}

/// getsockname(2): the local address and port of a socket.
///
/// # Errors
/// `getsockname error: …`.
pub fn Getsockname(sockfd: &Sockfd) -> Result<SocketAddr> {
    let name = sockfd.socket.local_addr().and_then(internet);
    name.map_err(|why| sys_error("getsockname error", sockfd.with(), why))
}

/// A socket's own address for a message.
fn local(sockfd: &Sockfd) -> String {
    Getsockname(sockfd).map_or_else(|_| "?".to_owned(), |local| local.to_string())
}

/// shutdown(2): with [`SHUT_WR`](crate::SHUT_WR) the half-close (四次挥手): the FIN goes
/// out behind all that was written, and reading goes on.
///
/// # Errors
/// `shutdown error: PEER: …`: not connected any more (`ENOTCONN`).
pub fn Shutdown(sockfd: &Sockfd, how: std::net::Shutdown) -> Result<()> {
    let shut = sockfd.socket.shutdown(how);
    shut.map_err(|why| sys_error("shutdown error", sockfd.with(), why))?;
    let how = match how {
        std::net::Shutdown::Read => "SHUT_RD",
        std::net::Shutdown::Write => "SHUT_WR",
        std::net::Shutdown::Both => "SHUT_RDWR",
    };
    trace!(sockfd, "shutdown({sockfd}, {how}) = 0");
    Ok(())
}

/// accept(2): takes the head of the queue of complete connections, and sleeps
/// while there is none (accept函数).
///
/// Returns a new descriptor, close-on-exec, and the client's address. What
/// concerns one connection only, or a signal, is tried again; when the system
/// has no descriptor or memory left, that is said once, and the call goes on
/// after each [`PAUSE`] until there is one.
///
/// # Errors
/// `accept error: ADDRESS:PORT: …` when the listening socket itself is broken.
pub fn Accept(listenfd: &Sockfd) -> Result<(Sockfd, SocketAddr)> {
    let mut said = false;
    loop {
        let why = match listenfd.socket.accept() {
            Ok((socket, address)) => match internet(address) {
                Ok(cliaddr) => {
                    let connfd = Sockfd {
                        socket,
                        peer: Some(cliaddr),
                        idle_timeout: listenfd.idle_timeout,
                    };
                    trace!(
                        &connfd,
                        "accept({listenfd}) = {connfd}, {} <- {cliaddr}, {} more in the queue",
                        local(&connfd),
                        complete_connections(listenfd).unwrap_or_default()
                    );
                    return Ok((connfd, cliaddr));
                }
                Err(why) => why,
            },
            Err(why) => why,
        };
        let verdict = accept_verdict(Errno::from_raw(why.raw_os_error().unwrap_or(0)));
        trace!(listenfd, "accept({listenfd}) = -1, {why}");
        if verdict == Verdict::Again {
            continue;
        }
        let error = sys_error("accept error", local(listenfd), why);
        if verdict == Verdict::Fatal {
            return Err(error);
        }
        if !said {
            err_ret(&error);
            said = true;
        }
        thread::sleep(PAUSE);
    }
}

/// How long [`Accept`] waits before it asks again for a descriptor or memory.
pub const PAUSE: Duration = Duration::from_millis(100);

/// What a failed accept means for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// One connection was lost, or a signal came: accept the next one at once.
    Again,
    /// The system lacks something that others will give back.
    Pause,
    /// The listening socket will never accept again.
    Fatal,
}

fn accept_verdict(errno: Errno) -> Verdict {
    use Errno as E;
    match errno {
        E::EINTR | E::ECONNABORTED | E::ECONNRESET | E::EPERM => Verdict::Again,
        // What accept(2) lists: pending errors of the new connection.
        E::ENETDOWN
        | E::EPROTO
        | E::ENOPROTOOPT
        | E::EHOSTDOWN
        | E::ENONET
        | E::EHOSTUNREACH
        | E::EOPNOTSUPP
        | E::ENETUNREACH
        | E::ETIMEDOUT => Verdict::Again,
        E::EMFILE | E::ENFILE | E::ENOBUFS | E::ENOMEM => Verdict::Pause,
        _ => Verdict::Fatal,
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
    fn which_errors_of_accept_pass_and_which_end_the_server() {
        use Errno as E;
        let again = [
            E::EINTR,
            E::ECONNABORTED,
            E::ECONNRESET,
            E::EPERM,
            E::ENETDOWN,
            E::EPROTO,
            E::ENOPROTOOPT,
            E::EHOSTDOWN,
            E::ENONET,
            E::EHOSTUNREACH,
            E::EOPNOTSUPP,
            E::ENETUNREACH,
            E::ETIMEDOUT,
        ];
        let pause = [E::EMFILE, E::ENFILE, E::ENOBUFS, E::ENOMEM];
        let fatal = [E::EBADF, E::EINVAL, E::ENOTSOCK, E::EFAULT, E::EAFNOSUPPORT];
        for (errnos, verdict) in [
            (&again[..], Verdict::Again),
            (&pause, Verdict::Pause),
            (&fatal, Verdict::Fatal),
        ] {
            for &errno in errnos {
                assert_eq!(accept_verdict(errno), verdict, "{errno}");
            }
        }
    }
}
