//! Fgets and Fputs, and the two streams they work on.
//!
//! The book's `lib/wrapstdio.c`. As in C's stdio, standard output is written at
//! once to a terminal and in large pieces elsewhere, and reading standard input
//! first flushes what was put on standard output.

use crate::error::sys_error;
use crate::readline::{Rline, Source, read_asleep};
use crate::retry::{retry, sleep_until};
use crate::trace::trace;
use crate::wrapsock::Sockfd;
use anyhow::Result;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::write;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Standard output, or any descriptor in its place, with a buffer before it.
#[derive(Debug)]
pub struct Stdout<'a> {
    out: RefCell<BufWriter<Sink<'a>>>,
    is_terminal: bool,
}

/// How much is written into a pipe or a file at a time, in bytes.
const WRITE_BUF: usize = 64 * 1024;

impl<'a> Stdout<'a> {
    /// A stream over `fd` with nothing in its buffer.
    pub fn new(fd: &'a impl AsFd) -> Self {
        let fd = fd.as_fd();
        Stdout {
            out: RefCell::new(BufWriter::with_capacity(WRITE_BUF, Sink(fd))),
            is_terminal: fd.is_terminal(),
        }
    }

    /// Whether each line shows as soon as it is put.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes out what the buffer holds.
    ///
    /// # Errors
    /// Those of [`Fputs`].
    pub fn flush(&self) -> Result<()> {
        self.out.borrow_mut().flush().map_err(fputs_error)
    }
}

/// Puts a line on standard output, byte for byte.
///
/// # Errors
/// [`StdoutClosed`] when nobody reads it any more; otherwise
/// `fputs error: standard output: …`, as when the disk is full (`ENOSPC`).
pub fn Fputs(line: &[u8], stdout: &Stdout) -> Result<()> {
    let mut out = stdout.out.borrow_mut();
    out.write_all(line).map_err(fputs_error)?;
    if stdout.is_terminal {
        out.flush().map_err(fputs_error)?;
    }
    Ok(())
}

/// The reader of standard output has gone, as `head -1` does when it has its line.
#[derive(Clone, Copy, Debug)]
pub struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("fputs error: standard output: its reader has gone")
    }
}

impl std::error::Error for StdoutClosed {}

fn fputs_error(why: io::Error) -> anyhow::Error {
    match why.kind() {
        ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => sys_error("fputs error", "standard output", why),
    }
}

/// write(2) on a descriptor that may have been left non-blocking.
#[derive(Debug)]
struct Sink<'a>(BorrowedFd<'a>);

impl Write for Sink<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match retry(|| write(self.0, buf)) {
                Err(Errno::EAGAIN) => sleep_until(self.0, PollFlags::POLLOUT)?,
                done => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard input, or any descriptor in its place, tied to a [`Stdout`], which is
/// flushed before each read.
#[derive(Debug)]
pub struct Stdin<'a, 'out> {
    fd: BorrowedFd<'a>,
    stdout: &'a Stdout<'out>,
    sockfd: &'a Sockfd,
}

impl<'a, 'out> Stdin<'a, 'out> {
    /// A stream over `fd`. What is read from it goes to `sockfd`.
    pub fn tied(fd: &'a impl AsFd, stdout: &'a Stdout<'out>, sockfd: &'a Sockfd) -> Self {
        Stdin {
            fd: fd.as_fd(),
            stdout,
            sockfd,
        }
    }
}

impl Source for Stdin<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.stdout.flush()?;
        read_asleep(self.fd, buf).map_err(|errno| sys_error("fgets error", "standard input", errno))
    }

    fn sockfd(&self) -> Option<&Sockfd> {
        Some(self.sockfd)
    }
}

/// Reads a line, its newline included, or the next `maxline` bytes of one that is
/// longer; `None` at end of file.
///
/// A last line without a newline is returned without one.
///
/// # Errors
/// `fgets error: standard input: …`, as when it is a directory (`EISDIR`), and
/// those of the flush before the sleep.
pub fn Fgets<S: Source>(fp: &mut Rline<S>, maxline: usize) -> Result<Option<&[u8]>> {
    let line = fp.next(maxline)?;
    match line.len() {
        0 => {
            trace!(fp.sockfd(), "Fgets = NULL, end of file");
            Ok(None)
        }
        n => {
            trace!(fp.sockfd(), "Fgets = {n}");
            Ok(Some(fp.piece(line)))
        }
    }
}
