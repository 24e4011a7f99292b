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
/// A line may hold any byte. A line that is longer than MAXLINE is sent in pieces. If the input
/// ends without a newline, and the last piece is shorter than MAXLINE, a FIN is sent after it
/// (half-close, 四次挥手): a server that waits for the newline then answers too. The client then
/// reads as many bytes as it sent.
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the whole
/// echo, and those of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`]. What has come by
/// then is on `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = BufReader::new(Blocking(fp)); // the buffer of stdio
    let mut echo = BufReader::new(sockfd); // the buffer of the book's readline
    let mut stdout = output(stdout); // the buffer of stdio

    while let Some(nsent) = Fgets(&mut sendline, MAXLINE, &mut fp)? {
        Writen(sockfd, &sendline)?;

        // Not in the listing: the last line may have no newline.
        let last = nsent < MAXLINE && !sendline.ends_with(b"\n");
        if last {
            let _ = Shutdown(sockfd, SHUT_WR); // if the server is gone, Readline reports it
        }
        let maxlen = if last { nsent } else { MAXLINE };

        let nread = Readline(&mut echo, &mut recvline, maxlen);

        Fputs(&recvline, &mut stdout)?; // also the part of a line that came before an error

        // The listing has `== 0`. Here a part of a line is an error too.
        if nread? < maxlen && !recvline.ends_with(b"\n") {
            bail!("str_cli: server terminated prematurely");
        }

        // Not in the listing: no whole line is in the buffer, so Fgets may sleep.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
        if last {
            break;
        }
    }
    Ok(())
}
