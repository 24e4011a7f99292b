//! str_cli: what the client does between connect and exit.
//!
//! The book's `lib/str_cli.c`.

use crate::readline::{MAXLINE, Readline};
use crate::retry::Blocking;
use crate::sockfd::Sockfd;
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::{Fflush, Fgets, Fputs, output};
use crate::writen::Writen;
use anyhow::{Result, bail};
use std::io::BufReader;
use std::os::fd::AsFd;

/// Sends each line of `fp`, reads its echo and puts that on `stdout`, one after the other
/// (stop-and-wait), until the end of `fp`.
///
/// A line may hold any byte. One that is longer than MAXLINE travels in pieces. Behind a last
/// piece without a newline, if it is shorter than MAXLINE, goes a FIN (half-close, 四次挥手), so
/// that a server which waits for the newline answers too; its echo ends after as many bytes.
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the whole
/// echo, and those of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`]. What has come by
/// then is on `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = BufReader::new(Blocking(fp));
    let mut echo = BufReader::new(sockfd);
    let mut stdout = output(stdout);

    while let Some(n) = Fgets(&mut sendline, MAXLINE, &mut fp)? {
        Writen(sockfd, &sendline)?;

        let mut maxlen = MAXLINE;
        let last = n < MAXLINE && !sendline.ends_with(b"\n"); // the end of fp has cut it
        if last {
            let _ = Shutdown(sockfd, SHUT_WR); // if the server is gone, Readline reports it
            maxlen = n;
        }

        let n = Readline(&mut echo, &mut recvline, maxlen)?;
        Fputs(&recvline, &mut stdout)?;
        if n < maxlen && !recvline.ends_with(b"\n") {
            bail!("str_cli: server terminated prematurely"); // 0, or a part of a line
        }

        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?; // before Fgets sleeps
        }
        if last {
            break;
        }
    }
    Ok(())
}
