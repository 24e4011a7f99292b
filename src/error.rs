//! One line for a human when a call fails: program, what, with what, why.
//!
//! The book's `lib/error.c`. There each wrapper prints and exits; here it
//! returns the error, and these functions say it.

use crate::idle::IdleTimeout;
use crate::retry::retry;
use anyhow::{Error, Result};
use nix::unistd::write;
use std::fmt::{self, Display, Write};
use std::io;
use std::path::Path;
use std::process;
use std::sync::OnceLock;

/// Says the error on standard error, in one line and one write, and returns.
///
/// The line begins with the program's name. One write keeps the lines of a
/// parent and its children apart, where `eprintln!` would make several.
pub fn err_ret(error: &Error) {
    say(format_args!("{error:#}"));
}

/// Says the error as [`err_ret`] does and ends the process with status 1.
pub fn err_quit(error: &Error) -> ! {
    err_ret(error);
    process::exit(1)
}

/// The exit status for a result, once [`err_ret`] has said the error: 1, or 0 where
/// there is none or only an [`IdleTimeout`].
#[must_use]
pub fn exit_status(result: Result<()>) -> i32 {
    let Err(error) = result else { return 0 };
    err_ret(&error);
    i32::from(!error.is::<IdleTimeout>())
}

/// Writes `program: message` to standard error, in one write, cut off at 512 bytes.
///
/// It allocates nothing and locks nothing, so that a signal handler may call it
/// (once [`program`] has been called).
pub fn say(message: impl Display) {
    write_line(format_args!("{}: {message}", program()));
}

/// Writes a line to standard error, as [`say`] does.
pub(crate) fn write_line(text: fmt::Arguments) {
    let mut line = Line {
        bytes: [b'\n'; 512],
        len: 0,
    };
    // A Line takes what fits and never fails.
    let _ = line.write_fmt(text);
    // Nobody is left to be told that standard error is gone.
    let _ = retry(|| write(io::stderr(), &line.bytes[..=line.len]));
}

/// The name this program was called by, without its directories.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let argv0 = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&argv0).file_name().unwrap_or(&argv0);
        // One line it shall be, whatever a caller has put there.
        name.to_string_lossy().replace(char::is_control, "?")
    })
}

/// A line that is put together before it is written: `len` bytes, then a newline.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..][..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

/// The error of a system call: `what: with: why (os error N)`. Its root is the
/// [`io::Error`], for a caller who wants to know the errno.
pub(crate) fn sys_error(what: &str, with: impl Display, why: impl Into<io::Error>) -> Error {
    Error::new(why.into()).context(format!("{what}: {with}"))
}
