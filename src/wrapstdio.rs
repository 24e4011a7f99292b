//! Fgets and Fputs, as in the book's `lib/wrapstdio.c`.

use crate::error::StdoutClosed;
use crate::readline::read_line;
use crate::retry::Blocking;
use crate::trace::{print, trace, trace_sleep};
use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Returns a buffered stream, like C's `stdin`, which waits for input even if a shell has made the
/// descriptor non-blocking.
pub(crate) fn input(fd: impl AsFd) -> BufReader<impl Read> {
    BufReader::new(Stdin(Blocking(fd)))
}

struct Stdin<Fd>(Blocking<Fd>);

impl<Fd: AsFd> Read for Stdin<Fd> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        trace_sleep(&self.0.0, "Fgets(stdin)");
        self.0.read(buf)
    }
}

/// Reads a line, including its newline, into `line`, and returns the number of bytes, or `None` at
/// end of file (`NULL` in C).
///
/// Fgets replaces [fgets(3)](https://man7.org/linux/man-pages/man3/fgets.3.html), and adds no NUL.
/// A line of more than `maxline` bytes is returned in pieces of `maxline` bytes. If the last line
/// has no newline, none is added.
///
/// # Errors
/// `fgets error: standard input: …`: standard input is a directory (`EISDIR`).
pub fn Fgets(line: &mut Vec<u8>, maxline: usize, fp: &mut impl BufRead) -> Result<Option<usize>> {
    let n = read_line(fp, line, maxline);
    match n {
        Ok(0) => print("Fgets(stdin) = NULL"),
        _ => trace!(None, n, "Fgets(stdin)"),
    }
    let n = n.context("fgets error: standard input")?;
    Ok((n > 0).then_some(n))
}

/// Writes a line to standard output, byte for byte and without buffering: each call is one
/// [write(2)](https://man7.org/linux/man-pages/man2/write.2.html).
///
/// The errors name standard output, so do not pass any other descriptor to Fputs.
///
/// # Errors
/// [`StdoutClosed`], if standard output no longer has a reader; otherwise `fputs error: standard
/// output: …`: the disk is full (`ENOSPC`).
pub fn Fputs(line: &[u8], stdout: impl AsFd) -> Result<()> {
    let put = Blocking(stdout).write_all(line);
    trace!(None, put, "Fputs(stdout)");
    put.or_else(|why| match why.kind() {
        ErrorKind::BrokenPipe => Err(why).context(StdoutClosed),
        _ => Err(why).context("fputs error: standard output"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_without_a_reader_is_its_own_kind_of_error() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let error = Fputs(b"hello\n", &writer).unwrap_err();
        assert!(error.is::<StdoutClosed>());
        let said = "fputs error: standard output: closed by its reader";
        assert_eq!(error.to_string(), said);
    }
}
