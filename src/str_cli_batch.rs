//! str_cli for batch input: the same lines, without waiting for each echo.
//!
//! Stop-and-wait leaves the network idle most of the time. The book's answer for
//! input that comes from a file: send on and on, half-close at its end, and print what
//! comes until the server's FIN.

use crate::SHUT_WR;
use crate::error::sys_error;
use crate::page_buf::PageBuf;
use crate::readline::Source;
use crate::retry::retry;
use crate::str_echo::ECHO_BUF;
use crate::trace::trace;
use crate::wrapsock::{Shutdown, Sockfd};
use crate::wrapstdio::{Fputs, Stdout, StdoutClosed};
use crate::writen::Writen;
use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
use std::io::{self, ErrorKind};
use std::net::Shutdown::Both;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::thread;

/// Sends all of `fp` and puts all that comes back on `stdout`, both at the same time,
/// until the server's FIN.
///
/// A thread for each direction: neither waits for the other, and each hands on what it
/// has at once.
///
/// # Errors
/// `str_cli: server terminated prematurely` when its end of file comes before all of
/// `fp` was sent and has come back, also while `fp` is silent; `fgets error: standard
/// input: …`, `readline error: PEER: …`, and those of [`Writen`] and [`Fputs`].
/// What had come by then is on `stdout`. A `stdout` that nobody reads any more is no
/// error: it ends both directions.
pub fn str_cli_batch(fp: impl AsFd + Sync, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let (received, sent) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send_all(&fp, sockfd);
            // Also behind what an error cut short, so that its echo still comes. Of a
            // server that is not there any more the receiver learns.
            let _ = Shutdown(sockfd, SHUT_WR);
            sent
        });
        let received = receive_all(sockfd, &stdout);
        // Wakes a sender that still sleeps: there is nobody left to send to. Where the
        // connection is over already this fails, and the sender is awake.
        let _ = Shutdown(sockfd, Both);
        let sent = sender.join().unwrap_or_else(|panic| resume_unwind(panic));
        (received, sent)
    });
    trace!(sockfd, "str_cli_batch returns");

    match (received, sent) {
        (Err(error), _) if error.is::<StdoutClosed>() => Ok(()),
        (Err(error), _) => Err(error),
        (Ok(_), Err(error)) if !is_broken_pipe(&error) => Err(error),
        (Ok(received), Ok(Some(sent))) if received == sent => Ok(()),
        _ => bail!("str_cli: server terminated prematurely"),
    }
}

/// Sends all of `fp`. Returns how many bytes that were, or `None` if the connection
/// ended first.
fn send_all(fp: &impl AsFd, sockfd: &Sockfd) -> Result<Option<usize>> {
    let mut buf = PageBuf::new(ECHO_BUF);
    let mut sent = 0;
    loop {
        let mut fds = [
            PollFd::new(fp.as_fd(), PollFlags::POLLIN),
            PollFd::new(sockfd.as_fd(), PollFlags::empty()), // its end
        ];
        retry(|| poll(&mut fds, PollTimeout::NONE))
            .map_err(|errno| sys_error("poll error", "standard input", errno))?;
        if fds[1].any() != Some(false) {
            return Ok(None);
        }
        match retry(|| read(fp, &mut buf)) {
            Ok(0) => return Ok(Some(sent)),
            Ok(n) => {
                trace!(sockfd, "read(stdin) = {n}");
                Writen(sockfd, &buf[..n])?;
                sent += n;
            }
            Err(Errno::EAGAIN) => {} // somebody else took it
            Err(errno) => return Err(sys_error("fgets error", "standard input", errno)),
        }
    }
}

/// Puts all that comes on `stdout`, until the server's FIN. Returns how many bytes that
/// were.
fn receive_all(mut sockfd: &Sockfd, stdout: &impl AsFd) -> Result<usize> {
    let stdout = Stdout::new(stdout);
    let mut buf = PageBuf::new(ECHO_BUF);
    let mut received = 0;
    loop {
        let n = sockfd.read(&mut buf)?;
        trace!(sockfd, "read({sockfd}) = {n}");
        if n == 0 {
            return Ok(received);
        }
        Fputs(&buf[..n], &stdout)?;
        stdout.flush()?;
        received += n;
    }
}

/// What a write gets behind the server's FIN and reset, which the receiver knows of.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let why = error.downcast_ref::<io::Error>();
    why.is_some_and(|why| why.kind() == ErrorKind::BrokenPipe)
}
