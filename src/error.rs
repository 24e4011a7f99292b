//! One line for a human when a call fails: program, what, with what, why.
//!
//! The book's `lib/error.c`. There each wrapper prints and exits; here it
//! returns the error, and these functions say it.

use anyhow::{Error, Result};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process;

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

/// The exit status for a result: 0, or 1 once [`err_ret`] has said the error.
#[must_use]
pub fn exit_status(result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            err_ret(&error);
            1
        }
    }
}

/// Writes `program: message` to standard error, in one write.
pub fn say(message: impl Display) {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&argv0).file_name().unwrap_or(&argv0);
    let line = format!("{}: {message}\n", program.display());
    // Nobody is left to be told that standard error is gone.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The error of a system call: `what: with: why (os error N)`. Its root is the
/// [`io::Error`], for a caller who wants to know the errno.
pub(crate) fn sys_error(what: &str, with: impl Display, why: impl Into<io::Error>) -> Error {
    Error::new(why.into()).context(format!("{what}: {with}"))
}
