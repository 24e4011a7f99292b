//! str_cli: what the client does between connect and exit.
//!
//! The book's `lib/str_cli.c`.

use crate::readline::{Readline, Rline, Source};
use crate::retry::retry;
use crate::trace::trace;
use crate::wrapsock::{Shutdown, Sockfd};
use crate::wrapstdio::{Fgets, Fputs, Stdin, Stdout, StdoutClosed};
use crate::writen::Writen;
use crate::{MAXLINE, SHUT_WR};
use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::read;
use std::os::fd::AsFd;
use std::time::Duration;

/// Sends each line of `fp`, reads its echo and puts it on `stdout`, one after the
/// other (stop-and-wait), until the end of `fp`.
///
/// Byte for byte: a line may hold NUL or anything else. One that is longer than
/// MAXLINE travels in pieces. Behind a last piece without a newline, which only end
/// of file can have cut, goes the FIN (half-close, 四次挥手), so that also a server
/// that waits for whole lines answers; its echo ends when as many bytes have come
/// as were sent.
///
/// Into a pipe or a file the echo is written in large pieces, yet nothing is held
/// back while this function sleeps, whether for input or for a server that takes
/// longer than [`PATIENCE`].
///
/// # Errors
/// `str_cli: server terminated prematurely` when its end of file comes before the
/// whole echo, and the errors of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`].
/// What had been echoed by then is on `stdout`. A `stdout` that nobody reads any
/// more is no error: it ends the loop.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let stdout = Stdout::new(&stdout);
    let fp = Rline::new(Stdin::tied(&fp, &stdout, sockfd));
    let echo = Rline::new(Echo::tied(sockfd, &stdout)?);

    let talked = talk(fp, sockfd, echo, &stdout);
    let flushed = stdout.flush();
    match talked.and(flushed) {
        Err(error) if !error.is::<StdoutClosed>() => Err(error),
        _ => {
            trace!(sockfd, "str_cli returns");
            Ok(())
        }
    }
}

/// The listing's loop.
fn talk(
    mut fp: Rline<Stdin>,
    sockfd: &Sockfd,
    mut echo: Rline<Echo>,
    stdout: &Stdout,
) -> Result<()> {
    while let Some(sendline) = Fgets(&mut fp, MAXLINE)? {
        Writen(sockfd, sendline)?;
        let mut maxlen = MAXLINE;
        if !sendline.ends_with(b"\n") && sendline.len() < MAXLINE {
            // Of a server that is gone already, Readline tells.
            let _ = Shutdown(sockfd, SHUT_WR);
            maxlen = sendline.len();
        }

        let recvline = Readline(&mut echo, maxlen)?;
        Fputs(recvline, stdout)?;
        if recvline.len() < sendline.len() && !recvline.ends_with(b"\n") {
            bail!("str_cli: server terminated prematurely");
        }
    }
    Ok(())
}

/// How long an echo may take before what is already there is shown without it.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// The socket as a source, tied to a [`Stdout`], which is flushed before a long
/// sleep.
///
/// An echo is hardly ever there when it is read for, so that a flush before each
/// such sleep would be one write a line, and to ask whether it is there one more
/// call a line. SO_RCVTIMEO costs neither.
struct Echo<'a, 'out> {
    sockfd: &'a Sockfd,
    stdout: &'a Stdout<'out>,
}

impl<'a, 'out> Echo<'a, 'out> {
    fn tied(sockfd: &'a Sockfd, stdout: &'a Stdout<'out>) -> Result<Self> {
        if !stdout.is_terminal() {
            sockfd.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(Echo { sockfd, stdout })
    }
}

impl Source for Echo<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match retry(|| read(self.sockfd, buf)) {
            Err(Errno::EAGAIN) => {
                self.stdout.flush()?;
                self.sockfd.read(buf)
            }
            done => done.map_err(|errno| self.sockfd.error("readline error", errno)),
        }
    }

    fn sockfd(&self) -> Option<&Sockfd> {
        Some(self.sockfd)
    }
}
