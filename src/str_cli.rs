//! str_cli: what the client does between connect and exit.
//!
//! The book's `lib/str_cli.c`.

use crate::readline::{MAXLINE, Readline};
use crate::sockfd::Sockfd;
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::{Fflush, Fgets, Fputs, input, output};
use crate::writen::Writen;
use anyhow::{Result, bail};
use std::io::{BufReader, Write};
use std::os::fd::AsFd;

/// Sends each line of `fp`, reads its echo and puts that on `stdout`, one after the other
/// (stop-and-wait), until the end of `fp`.
///
/// A line may hold any byte. A line that is longer than MAXLINE is sent in pieces. If the input
/// ends without a newline, and the last piece is shorter than MAXLINE, a FIN is sent after it
/// (half-close, 四次挥手): a server that waits for the newline then answers too. The client then
/// reads up to a newline, or to the server's FIN.
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the end of the echo,
/// and those of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`]. What has come by then is on
/// `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = input(fp); // C's stdin, with its buffer
    let mut stdout = output(stdout); // C's stdout, with its buffer
    let mut from_server = BufReader::new(sockfd); // for the static buffer of the book's readline

    while Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Not in the listing: the input has ended without a newline. Send a FIN, print the echo.
        if !is_whole(&sendline) {
            return end_of_answer(sendline.len(), sockfd, &mut from_server, &mut stdout);
        }

        let nread = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?; // also a part of a line, before an error or the FIN
        nread?;
        if !is_whole(&recvline) {
            bail!(PREMATURELY); // the listing has `== 0`
        }

        // Not in the listing: fp's buffer has no whole line, so Fgets may sleep. First show all echoes.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
    }
    Ok(())
}

pub(crate) const PREMATURELY: &str = "str_cli: server terminated prematurely";

/// Whether this is all of a line, or a piece of MAXLINE bytes.
fn is_whole(line: &[u8]) -> bool {
    line.ends_with(b"\n") || line.len() == MAXLINE
}

/// Sends the FIN after a last line of `nsent` bytes, and reads its answer up to a newline, or to the
/// server's FIN.
fn end_of_answer(
    nsent: usize,
    sockfd: &Sockfd,
    from_server: &mut BufReader<&Sockfd>,
    stdout: &mut impl Write,
) -> Result<()> {
    let _ = Shutdown(sockfd, SHUT_WR); // if the server is gone, Readline reports it
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut received = 0;
    loop {
        let nread = Readline(from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, stdout)?; // also the part of a line that came before an error
        received += nread?;
        match recvline.last() {
            None if received < nsent => bail!(PREMATURELY),
            None | Some(b'\n') => return Fflush(stdout),
            Some(_) => {} // a piece, or a part before the FIN
        }
    }
}
