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
/// FIN. (Exactly MAXLINE last bytes look like a piece: no FIN follows them, and such a server does not
/// answer.)
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before the end of the echo;
/// and those of [`Fgets`], [`Writen`], [`Readline`] and [`Fputs`]. What has come by then is on
/// `stdout`.
pub fn str_cli(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let mut sendline = Vec::with_capacity(MAXLINE);
    let mut recvline = Vec::with_capacity(MAXLINE);
    let mut fp = input(fp); // C's FILE *: the descriptor with a buffer
    let mut stdout = output(stdout); // likewise (for a terminal none); each return flushes it
    let mut from_server = BufReader::new(sockfd); // the buffer that the book's readline has as a static
    let mut half_closed = false; // then nothing more can be sent, even if a terminal has more

    while !half_closed && Fgets(&mut sendline, MAXLINE, &mut fp)?.is_some() {
        Writen(sockfd, &sendline)?;

        // Added: the input has ended without a newline. The FIN says so to the server.
        if is_cut(&sendline) {
            let _ = Shutdown(sockfd, SHUT_WR); // no `?`: if the server is gone, Readline reports it
            half_closed = true;
        }

        let read = Readline(&mut from_server, &mut recvline, MAXLINE); // it empties recvline first
        Fputs(&recvline, &mut stdout)?; // before the checks: a part of the echo is shown, too
        read?; // an error of Readline ends it here
        // The listing has `== 0`. A line that is cut by the server's FIN is an error, too. But the echo of a
        // last line without a newline has no newline: it is whole if it is as long.
        if is_cut(&recvline) && (!half_closed || recvline.len() < sendline.len()) {
            bail!(TERMINATED); // C's err_quit; here the caller prints the error
        }

        // Added: if fp's buffer has no whole line, the next Fgets may sleep. First show all echoes.
        if !fp.buffer().contains(&b'\n') {
            Fflush(&mut stdout)?;
        }
    }

    // Added: what is left of the answer to a half-close, up to its newline or the server's FIN.
    while half_closed && !recvline.is_empty() && !recvline.ends_with(b"\n") {
        let read = Readline(&mut from_server, &mut recvline, MAXLINE);
        Fputs(&recvline, &mut stdout)?;
        Fflush(&mut stdout)?;
        read?;
    }
    Ok(())
}

pub(crate) const TERMINATED: &str = "str_cli: server terminated prematurely";

/// Whether the end of the stream has cut this line, perhaps to nothing: it has no newline, and is no piece
/// of MAXLINE bytes.
fn is_cut(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && line.len() != MAXLINE
}
