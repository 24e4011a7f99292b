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

pub(crate) const TERMINATED: &str = "str_cli: server terminated prematurely";

/// Sends each line of `fp`, reads its echo and puts that on `stdout`, one after the other
/// (stop-and-wait), until the end of `fp`. (In the code, `added` marks what the listing does not have.)
///
/// `fp` and `stdout` are only descriptors; C's streams, with their buffers, are made from them here. A line
/// may hold any byte. One that is longer than MAXLINE is sent in pieces. After a last line without a newline
/// it sends a FIN (half-close, 半关闭), so that a server that waits for the newline answers, too; the answer is
/// read up to a newline, MAXLINE bytes or the server's FIN. (If the last piece has exactly MAXLINE bytes, no
/// FIN follows it: Fgets cannot see yet that it is the last.)
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the end of an echo;
/// and those of [`Fgets`], [`Writen`], [`Readline`] (a part of a line that came before it is not printed)
/// and [`Fputs`].
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = input(fp); // C's FILE *: a descriptor with a buffer
    let mut stdout = output(stdout); // C's stdout; a terminal shows each Fputs at once
    let mut from_server = BufReader::new(sockfd); // the buffer that the book's readline has as a static

    // Fgets and Readline read MAXLINE bytes at most; C's, which add a NUL, read MAXLINE - 1.
    while Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?; // Rust ignores SIGPIPE: then write fails (EPIPE)

        // Added: only at end of file does Fgets return a short piece without a newline. Then a FIN follows it.
        let is_last = !sendline.ends_with(b"\n") && sendline.len() < MAXLINE;
        if is_last {
            let _ = Shutdown(sockfd, SHUT_WR); // it fails if the connection is gone; then Readline says so
        }

        if Readline(&mut from_server, &mut recvline, MAXLINE)? == 0 {
            bail!(TERMINATED); // C's err_quit: bail! returns an error with this text, and main prints it
        }

        Fputs(&recvline, &mut stdout)?;

        if !recvline.ends_with(b"\n") && recvline.len() < sendline.len() {
            bail!(TERMINATED); // added: the server's FIN has cut this echo; what came is printed
        }
        let next_line_is_here = fp.buffer().contains(&b'\n');
        if !next_line_is_here {
            Fflush(&mut stdout)?; // added: the next Fgets may sleep, so first show all echoes
        }
        if is_last {
            break; // added: after the FIN no line can be sent
        }
    }
    Ok(())
}
