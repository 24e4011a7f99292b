//! Readline: reads a line from a socket.
//!
//! The book's `lib/readline.c` has a static buffer that all descriptors share. Here, the buffer is
//! a `BufReader` around one socket.

use crate::sockfd::Sockfd;
use crate::trace::{trace, trace_sleep};
use crate::wrapsock::idle;
use anyhow::{Context, Result};
use nix::unistd;
use std::io::{self, BufRead, BufReader, Read};

/// The maximum length of a line, or of a piece of a longer line, in bytes.
///
/// C's fgets and readline reserve one byte of the buffer for the NUL. The functions in this crate
/// add no NUL, so a line of exactly MAXLINE bytes, including the newline, is not split.
pub const MAXLINE: usize = 4096;

/// Reads a line, including its newline, into `line`, and returns the number of bytes, or 0 at end
/// of file.
///
/// A line of more than `maxlen` bytes is returned in pieces of `maxlen` bytes. If the last line has
/// no newline, none is added. Each [read(2)](https://man7.org/linux/man-pages/man2/read.2.html)
/// fetches at most as many bytes as fit in the `BufReader`, and lines that are already buffered
/// need no further read.
///
/// # Errors
/// `readline error: …`: the peer reset the connection (`ECONNRESET`), its host stopped answering
/// (`ETIMEDOUT`), or the [idle timeout](crate::set_idle_timeout) expired (`idle for …`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # use std::io::{BufReader, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&sockfd, listener.local_addr()?)?;
/// # let mut peer = listener.accept()?.0;
/// peer.write_all(b"one\ntwo\n")?; // the other end of the connection
///
/// let mut lines = BufReader::new(&sockfd);
/// let mut line = Vec::new();
/// assert_eq!(Readline(&mut lines, &mut line, MAXLINE)?, 4);
/// assert_eq!(line, b"one\n");
/// # Ok(())
/// # }
/// ```
pub fn Readline(from: &mut BufReader<&Sockfd>, line: &mut Vec<u8>, maxlen: usize) -> Result<usize> {
    let n = read_line(&mut *from, line, maxlen);
    let sockfd = *from.get_ref();
    trace!(sockfd, n, "Readline({sockfd})");
    n.context("readline error")
}

/// Reads a line of at most `max` bytes, for Readline and for Fgets.
pub(crate) fn read_line(from: impl BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    line.clear();
    from.take(max as u64).read_until(b'\n', line)
}

/// Calls read(2) for the `BufReader`, which restarts the call if a signal interrupts it.
impl Read for &Sockfd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        trace_sleep(*self, format_args!("Readline({self})"));
        unistd::read(*self, buf).map_err(|why| idle(self, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads lines of at most `maxlen` bytes from a source that returns `piece` bytes at a time.
    fn lines(bytes: &[u8], piece: usize, maxlen: usize) -> Vec<Vec<u8>> {
        let mut from = BufReader::with_capacity(piece, bytes);
        let mut lines = Vec::new();
        let mut line = Vec::new();
        while read_line(&mut from, &mut line, maxlen).unwrap() > 0 {
            lines.push(line.clone());
        }
        assert_eq!(line, b"");
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_come() {
        let expected: [&[u8]; 5] = [b"one\n", b"\n", b"t\0wo\n", b"\xff\n", b"last"];
        for piece in [1, 2, 3, 5, 100] {
            assert_eq!(lines(b"one\n\nt\0wo\n\xff\nlast", piece, MAXLINE), expected);
        }
    }

    #[test]
    fn the_longest_piece_is_that_of_the_book() {
        assert_eq!(MAXLINE, 4096);
    }

    #[test]
    fn a_line_longer_than_maxlen_comes_in_pieces() {
        let expected: [&[u8]; 4] = [b"abcd", b"ef\n", b"ghi\n", b"jk"];
        for piece in [1, 3, 4, 100] {
            assert_eq!(lines(b"abcdef\nghi\njk", piece, 4), expected);
        }
    }
}
