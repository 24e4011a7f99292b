//! str_cli: what the client does between connect and exit.
//!
//! The book's `lib/str_cli.c`.

use crate::error::ServerTerminated;
use crate::readline::{MAXLINE, Readline};
use crate::sockfd::Sockfd;
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::{Fgets, Fputs, input};
use crate::writen::Writen;
use anyhow::{Result, bail};
use std::io::BufReader;
use std::os::fd::AsFd;

/// Sends each line of `fp`, reads its echo and puts that on `stdout`, one after the other
/// (stop-and-wait), until the end of `fp`. (In the code, `added` marks what the listing does not
/// have.)
///
/// `fp` and `stdout` are descriptors, not streams: data that the caller has buffered is not sent,
/// and what str_cli has read ahead from `fp` or the socket is lost when it returns. A line may hold
/// any byte. A last line without a newline, if shorter than MAXLINE, is followed by a FIN
/// (half-close, 半关闭), so that a server that waits for the newline also answers. A line of more than
/// MAXLINE bytes is sent in pieces, each of which waits for its echo; a server that waits for the
/// newline never answers, and both wait, as in C.
///
/// # Errors
/// [`ServerTerminated`], if the server's FIN arrives before the end of an echo; and those of [`Fgets`],
/// [`Writen`], [`Readline`] and [`Fputs`].
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    let mut fp = input(fp); // C's FILE *: a descriptor with a buffer
    let mut from_server = BufReader::new(sockfd); // static in the book's readline

    // Fgets and Readline read at most MAXLINE bytes. The C versions read one byte less, because
    // they add a NUL.
    while Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Added: Fgets returns a short piece without a newline only at end of file.
        let is_last = !sendline.ends_with(b"\n") && sendline.len() < MAXLINE;
        if is_last {
            let _ = Shutdown(sockfd, SHUT_WR); // if it fails, so does Readline, which reports it
        }

        if Readline(&mut from_server, &mut recvline, MAXLINE)? == 0 {
            bail!(ServerTerminated); // C's err_quit: returns this error, which main prints
        }

        Fputs(&recvline, &stdout)?;

        if !recvline.ends_with(b"\n") && recvline.len() < sendline.len() {
            bail!(ServerTerminated); // added: the server's FIN cut this echo short
        }
        if is_last {
            break; // added: no line can follow the FIN
        }
    }
    Ok(())
}
