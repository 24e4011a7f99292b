//! Readline, and the bounded-line reader that it shares with Fgets.
//!
//! The book's `lib/readline.c`. Its buffer is a static, which it owns to be a
//! fault: two descriptors cannot be read by turns. Here it belongs to a value.

use crate::retry::{retry, sleep_until};
use crate::trace::trace;
use crate::wrapsock::Sockfd;
use anyhow::Result;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::read;
use std::ops::Range;
use std::os::fd::AsFd;

/// Where a [`Rline`] gets its bytes: the book's `my_read`.
pub trait Source {
    /// Reads some bytes into `buf`, sleeping while there are none; 0 is end of file.
    ///
    /// # Errors
    /// What the system call failed with, in the book's words.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize>;

    /// The socket that these bytes come from or go to, whose state a narration
    /// ([`trace`](mod@crate::trace)) shows.
    fn sockfd(&self) -> Option<&Sockfd> {
        None
    }
}

/// A connected socket as a source.
///
/// # Errors
/// `readline error: PEER: …`, as when the peer resets the connection (`ECONNRESET`).
impl Source for &Sockfd {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        read_asleep(*self, buf).map_err(|errno| self.error("readline error", errno))
    }

    fn sockfd(&self) -> Option<&Sockfd> {
        Some(self)
    }
}

/// read(2) that goes on after a signal, and that sleeps also on a descriptor that
/// would not: one that is non-blocking, or has SO_RCVTIMEO.
pub(crate) fn read_asleep(fd: impl AsFd, buf: &mut [u8]) -> nix::Result<usize> {
    loop {
        match retry(|| read(&fd, buf)) {
            Err(Errno::EAGAIN) => sleep_until(&fd, PollFlags::POLLIN)?,
            done => return done,
        }
    }
}

/// A line reader with a buffer of its own: what the book keeps in `read_buf`,
/// `read_ptr` and `read_cnt`.
#[derive(Debug)]
pub struct Rline<S> {
    source: S,
    buf: Box<[u8]>,
    /// `buf[start..end]` was read and not handed out yet.
    start: usize,
    end: usize,
    eof: bool,
}

/// How much one read may bring in, in bytes.
const READ_BUF: usize = 64 * 1024;

impl<S: Source> Rline<S> {
    /// A reader over `source` that has read nothing yet.
    pub fn new(source: S) -> Self {
        Rline {
            source,
            buf: vec![0; READ_BUF].into_boxed_slice(),
            start: 0,
            end: 0,
            eof: false,
        }
    }

    /// The next piece: the bytes through the next newline, or `maxlen` bytes, or what is
    /// left before end of file; nothing at end of file, and from then on.
    /// As a range of [`piece`](Rline::piece).
    pub(crate) fn next(&mut self, maxlen: usize) -> Result<Range<usize>> {
        let maxlen = maxlen.clamp(1, self.buf.len());
        let mut seen = 0;
        let n = loop {
            let held = &self.buf[self.start..self.end];
            let unseen = &held[seen..held.len().min(maxlen)];
            if let Some(newline) = unseen.iter().position(|&byte| byte == b'\n') {
                break seen + newline + 1;
            }
            seen += unseen.len();
            if seen == maxlen || self.eof {
                break seen;
            }
            self.fill()?;
        };
        self.start += n;
        Ok(self.start - n..self.start)
    }

    pub(crate) fn piece(&self, range: Range<usize>) -> &[u8] {
        &self.buf[range]
    }

    /// The socket that the source tells of.
    pub(crate) fn sockfd(&self) -> Option<&Sockfd> {
        self.source.sockfd()
    }

    fn fill(&mut self) -> Result<()> {
        self.buf.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let n = self.source.read(&mut self.buf[self.end..])?;
        self.end += n;
        self.eof = n == 0;
        Ok(())
    }
}

/// Reads a line from a socket: its bytes through the newline.
///
/// Without a newline, `maxlen` bytes, or those before end of file; an empty slice
/// is end of file. One read(2) brings in as much as the kernel has (up to 64 KiB),
/// and serves all the lines in it. `maxlen` counts in bytes, from 1 to 64 Ki.
///
/// # Errors
/// Those of the [`Source`].
pub fn Readline<S: Source>(sockfd: &mut Rline<S>, maxlen: usize) -> Result<&[u8]> {
    match sockfd.next(maxlen) {
        Ok(line) => {
            trace!(sockfd.sockfd(), "Readline = {}", line.len());
            Ok(sockfd.piece(line))
        }
        Err(error) => {
            trace!(sockfd.sockfd(), "Readline = -1, {}", error.root_cause());
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the pieces one by one, then end of file, then panics: nothing may ask
    /// after that (a terminal would want another Ctrl-D).
    struct Pieces(Vec<&'static [u8]>);

    impl Source for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
            let piece = self.0.remove(0);
            buf[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&'static [u8]], maxlen: usize) -> Vec<Vec<u8>> {
        let mut reader = Rline::new(Pieces([pieces, &[b""]].concat()));
        let mut lines = Vec::new();
        loop {
            let line = Readline(&mut reader, maxlen).unwrap();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_vec());
        }
        assert_eq!(Readline(&mut reader, maxlen).unwrap(), b"");
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_come() {
        let expected: [&[u8]; 5] = [b"one\n", b"\n", b"t\0wo\n", b"\xff\n", b"last"];
        assert_eq!(lines(&[b"one\n\nt\0wo\n\xff\nlast"], MAX), expected);
        assert_eq!(
            lines(&[b"o", b"ne", b"\n\nt", b"\0wo\n\xff\n", b"la", b"st"], MAX),
            expected
        );
    }

    #[test]
    fn a_line_longer_than_maxlen_comes_in_pieces() {
        let expected: [&[u8]; 4] = [b"abcd", b"ef\n", b"ghi\n", b"jk"];
        assert_eq!(lines(&[b"abcdef\nghi\njk"], 4), expected);
        assert_eq!(lines(&[b"abc", b"def\ngh", b"i\nj", b"k"], 4), expected);
    }

    const MAX: usize = crate::MAXLINE;
}
