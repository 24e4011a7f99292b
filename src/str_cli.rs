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
    let mut from_server = BufReader::new(sockfd); // the buffer that the book's readline has as a static

    while Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Added: the input has ended without a newline. Send the FIN now, then print the echo.
        if is_cut(&sendline) {
            return last_answer(sendline.len(), sockfd, &mut from_server, &mut stdout);
        }

        let nread = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?; // first what has come: it may be a part of a line, too
        nread?; // now an error of Readline ends it
        if is_cut(&recvline) {
            bail!(TERMINATED); // the listing has `== 0`; is_cut also finds a part of a line
        }

        // Added: fp's buffer has no whole line, so Fgets may sleep. Before that, show all echoes.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
    }
    Ok(())
}

pub(crate) const TERMINATED: &str = "str_cli: server terminated prematurely";

/// Whether the end of the stream has cut this line: no newline, and not a piece of MAXLINE bytes.
fn is_cut(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && line.len() != MAXLINE
}

/// Sends the FIN after a last line of `nsent` bytes, and prints its answer: all that comes, up to a
/// newline or to the server's FIN.
fn last_answer(
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
        Fputs(&recvline, stdout)?; // first what has come, as above
        received += nread?;
        match recvline.last() {
            None if received < nsent => bail!(TERMINATED),
            None | Some(b'\n') => return Fflush(stdout),
            Some(_) => {} // a piece of the answer
        }
    }
}
