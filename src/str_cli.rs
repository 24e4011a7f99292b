//! str_cli: what the client does between connect and exit.
//!
//! The book's `lib/str_cli.c`.

use crate::readline::{MAXLINE, Readline};
use crate::sockfd::Sockfd;
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::{Fflush, Fgets, Fputs, input, output};
use crate::writen::Writen;
use anyhow::{Result, bail};
use std::io::BufReader;
use std::os::fd::AsFd;

/// Sends each line of `fp`, reads its echo and puts that on `stdout`, one after the other
/// (stop-and-wait), until the end of `fp`.
///
/// `fp` and `stdout` are descriptors; the streams of C, with their buffers, are made from them here.
///
/// A line may hold any byte. A line that is longer than MAXLINE is sent in pieces. If the input
/// ends without a newline, a FIN is sent after the last bytes (half-close, 四次挥手): a server that
/// waits for the newline then answers too. The answer is read up to a newline, or to the server's
/// FIN. (Exactly MAXLINE last bytes look like a piece, so no FIN follows them.)
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the end of the echo;
/// and those of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`]. What has come by then is on
/// `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = input(fp); // C's FILE *: a descriptor with a buffer
    let mut stdout = output(stdout); // likewise
    let mut from_server = BufReader::new(sockfd); // the buffer that the book's readline has as a static
    let mut half_closed = false;

    while !half_closed && Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Added: the input has ended without a newline. The FIN says so to the server.
        if is_cut(&sendline) {
            let _ = Shutdown(sockfd, SHUT_WR); // no `?`: if the server is gone, Readline reports it
            half_closed = true;
        }

        let nread = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?; // before the check: it may be a part of the echo, too
        nread?; // an error of Readline ends it here
        // The listing has `== 0`. A part of the echo is an error, too. (The echo of a last line without
        // a newline has none either.)
        if is_cut(&recvline) && (!half_closed || recvline.len() < sendline.len()) {
            bail!(TERMINATED); // err_quit
        }

        // Added: fp's buffer has no whole line, so Fgets may sleep. Before that, show all echoes.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
    }

    // Added: the answer that follows a half-close may be longer than MAXLINE.
    while half_closed && !recvline.is_empty() && !recvline.ends_with(b"\n") {
        let nread = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?;
        Fflush(&mut stdout)?;
        nread?;
    }
    Ok(())
}

pub(crate) const TERMINATED: &str = "str_cli: server terminated prematurely";

/// Whether the end of the stream has cut this line: no newline, and not a piece of MAXLINE bytes.
fn is_cut(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && line.len() != MAXLINE
}
