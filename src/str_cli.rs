//! str_cli (the book's `lib/str_cli.c`): what the client does between connect and exit.

use crate::error::ServerTerminated;
use crate::readline::{MAXLINE, Readline};
use crate::sockfd::Sockfd;
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::{Fgets, Fputs, input};
use crate::writen::Writen;
use anyhow::{Result, bail};
use std::io::BufReader;
use std::os::fd::AsFd;

/// Sends each line of `fp` and writes its echo to `stdout` before sending the next line
/// (stop-and-wait), until the end of `fp`. (In the code, `added` marks whatever is not in the
/// listing.)
///
/// `fp` and `stdout` are descriptors, not streams: data that the caller has buffered is not sent,
/// and data that str_cli has read ahead from `fp` or the socket is lost when str_cli returns. A
/// line may contain any bytes. If the last line is shorter than MAXLINE and has no newline, str_cli
/// sends a FIN after the line (half-close, 半关闭), so that even a server that waits for the newline
/// answers. A line of more than MAXLINE bytes is sent in pieces, and str_cli waits for the echo of
/// each piece; a server that waits for the newline never answers, as in C.
///
/// # Errors
/// [`ServerTerminated`], if the server's FIN arrives before the end of an echo; and the errors
/// returned by [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`].
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let (mut sendline, mut recvline) = (Vec::new(), Vec::new());
    let mut fp = input(fp); // C's FILE *: a descriptor with a buffer
    let mut from_server = BufReader::new(sockfd); // a static variable in the book's readline

    // Fgets and Readline read at most MAXLINE bytes. The C versions read one byte fewer, because
    // they add a NUL.
    while Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Added: Fgets returns a short line without a newline only at end of file.
        let is_last = !sendline.ends_with(b"\n") && sendline.len() < MAXLINE;
        if is_last {
            let _ = Shutdown(sockfd, SHUT_WR); // if this fails, Readline reports the error
        }

        if Readline(&mut from_server, &mut recvline, MAXLINE)? == 0 {
            bail!(ServerTerminated); // err_quit in C; here, main prints the error
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
