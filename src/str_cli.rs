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
/// (stop-and-wait), until the end of `fp`. (In the code, `added` marks what the listing does not have.)
///
/// `fp` and `stdout` are descriptors; the streams of C, with their buffers, are made from them here.
///
/// A line may hold any byte. A line that is longer than MAXLINE is sent in pieces. If the input
/// ends without a newline, a FIN is sent after the last bytes (half-close, 半关闭): a server that
/// waits for the newline then answers too. The answer is read up to a newline, or to the server's
/// FIN. (But no FIN follows a piece of exactly MAXLINE bytes, even the last one: a server that waits
/// for its newline, and the client, wait for each other then.)
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the end of the echo;
/// and those of [`Fgets`], [`Writen`], [`Shutdown`], [`Readline`] and [`Fputs`]. What Readline has read by
/// then is on `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = input(fp); // C's FILE *: a descriptor with a buffer
    let mut stdout = output(stdout); // C's stdout, flushed at each return; on a terminal without a buffer
    let mut from_server = BufReader::new(sockfd); // the buffer that the book's readline has as a static
    let mut half_closed = false; // added: true after the FIN: then no line can be sent

    // Fgets and Readline read MAXLINE bytes at most; C's, which add a NUL, read MAXLINE - 1.
    while !half_closed && Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?; // Rust ignores SIGPIPE: after a reset, EPIPE

        // Added: the input has ended without a newline. The FIN says so to the server.
        if is_cut(&sendline) {
            half_close(sockfd)?;
            half_closed = true;
        }

        let read = Readline(&mut from_server, &mut recvline, MAXLINE); // it empties recvline first
        Fputs(&recvline, &mut stdout)?; // before the checks: a part of the echo is shown, too
        read?; // an error of Readline ends it here
        // C tests `== 0`. Here a line that the server's FIN has cut is an error, too. After a half-close
        // the echo has no newline either: then it is cut if it is shorter than sendline.
        if is_cut(&recvline) && (!half_closed || recvline.len() < sendline.len()) {
            bail!(TERMINATED); // C's err_quit; here the caller prints the error
        }

        // Added: if fp's buffer has no whole line, the next Fgets may sleep. First show all echoes.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
    }

    // Added: a server that does not only echo may have a longer answer: up to a newline, or its FIN.
    while half_closed && !recvline.is_empty() && !recvline.ends_with(b"\n") {
        let read = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?;
        Fflush(&mut stdout)?;
        read?;
    }
    Ok(())
}

/// Sends the FIN. If the connection is gone, that is no error here: the next read reports it.
pub(crate) fn half_close(sockfd: &Sockfd) -> Result<()> {
    match Shutdown(sockfd, SHUT_WR) {
        Err(error) if sockfd.socket.peer_addr().is_ok() => Err(error), // it lives: the server would wait
        _ => Ok(()),
    }
}

pub(crate) const TERMINATED: &str = "str_cli: server terminated prematurely";

/// Whether the end of the stream has cut this line, perhaps to nothing: it has no newline, and is no piece
/// of MAXLINE bytes.
fn is_cut(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && line.len() != MAXLINE
}
