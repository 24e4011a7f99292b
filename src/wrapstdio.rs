//! Fgets, Fputs and Fflush.
//!
//! The book's `lib/wrapstdio.c`.

use crate::error::StdoutClosed;
use crate::readline::read_line;
use crate::retry::Blocking;
use crate::trace::{print, trace, trace_sleep};
use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;

/// C's `stdin`: a stream with a buffer. Its read(2) sleeps although a shell made it non-blocking.
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

/// C's `stdout`: a stream with a buffer. A terminal shows each line at once.
pub(crate) fn output(fd: impl AsFd) -> BufWriter<impl Write> {
    let bufsiz = if fd.as_fd().is_terminal() { 0 } else { 8192 }; // C's BUFSIZ
    BufWriter::with_capacity(bufsiz, Blocking(fd))
}

/// Reads a line into `line`, its newline included, and returns its length in bytes; `None`
/// is end of file, C's `NULL`.
///
/// A line that is longer than `maxline` bytes comes in pieces of `maxline`; a last line
/// without a newline comes without one.
///
/// # Errors
/// `fgets error: standard input: …`: it is a directory (`EISDIR`).
pub fn Fgets(line: &mut Vec<u8>, maxline: usize, fp: &mut impl BufRead) -> Result<Option<usize>> {
    let n = read_line(fp, line, maxline);
    match n {
        Ok(0) => print("Fgets(stdin) = NULL"),
        _ => trace!(None, n, "Fgets(stdin)"),
    }
    let n = n.context("fgets error: standard input")?;
    Ok((n > 0).then_some(n))
}

/// Puts a line on standard output, byte for byte.
///
/// # Errors
/// Those of [`Fflush`].
pub fn Fputs(line: &[u8], stdout: &mut impl Write) -> Result<()> {
    let put = stdout.write_all(line);
    trace!(None, put, "Fputs(stdout)");
    put.or_else(fputs_error)
}

/// Writes out what the stream's buffer holds.
///
/// # Errors
/// [`StdoutClosed`] if nobody reads standard output any more; else `fputs error: standard
/// output: …`: the disk is full (`ENOSPC`).
pub fn Fflush(stdout: &mut impl Write) -> Result<()> {
    let flushed = stdout.flush();
    trace!(None, flushed, "Fflush(stdout)");
    flushed.or_else(fputs_error)
}

fn fputs_error(why: io::Error) -> Result<()> {
    match why.kind() {
        ErrorKind::BrokenPipe => Err(why).context(StdoutClosed),
        _ => Err(why).context("fputs error: standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_without_a_reader_is_an_error_of_its_own() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let mut stdout = output(writer);
        Fputs(b"hello\n", &mut stdout).unwrap(); // into the buffer
        let error = Fflush(&mut stdout).unwrap_err();
        assert!(error.is::<StdoutClosed>());
        let said = "fputs error: standard output: its reader has gone";
        assert_eq!(error.to_string(), said);
    }
}
