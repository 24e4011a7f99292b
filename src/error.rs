//! Error messages on one line: program, call, argument, reason.
//!
//! The book's `lib/error.c`. There each wrapper prints and exits. Here it returns the error,
//! which holds the reason, and these functions print it. So err_quit is also the book's err_sys.

use crate::retry::Blocking;
use anyhow::{Error, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt::{Arguments, Display};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::{env, path::Path, process, sync::OnceLock};

/// Prints the error on standard error, in one line, and returns.
///
/// `tcpserv: bind error: 0.0.0.0:9877: Address already in use (os error 98)`
pub fn err_ret(error: &Error) {
    say(format_args!("{error:#}"));
}

/// Prints the error like [`err_ret`], then ends the process with status 1.
pub fn err_quit(error: &Error) -> ! {
    err_ret(error);
    process::exit(1)
}

/// The exit status of a child: 0, or 1 for an error, which it prints like [`err_ret`].
#[must_use]
pub fn exit_status(result: Result<()>) -> i32 {
    i32::from(result.inspect_err(err_ret).is_err())
}

/// Prints `program: message` on standard error: one line of at most 512 bytes, in one
/// write, so that the lines of a parent and its children do not mix.
///
/// If standard error is full and nobody reads it, the line is lost: a server must not
/// stop for a message. It takes no lock, and after [`Signal`](crate::Signal) it allocates
/// nothing, so a signal handler may call it.
pub fn say(message: impl Display) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO) != Ok(0) {
        write_line(format_args!("{}: {message}", program()));
    }
}

/// Writes one line of at most 512 bytes to standard error, and waits for its reader if it is
/// full.
pub(crate) fn write_line(text: Arguments) {
    let mut line = [0; 512];
    let mut room = &mut line[..511];
    let _ = room.write_fmt(text); // it fails when the room ends; what fits is in the line
    let len = 511 - room.len();
    line[len] = b'\n';
    // There is nowhere to report a failure of standard error.
    let _ = Blocking(io::stderr()).write(&line[..=len]);
}

/// The name by which this program was called, without its directory.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let argv0 = env::args_os().next().unwrap_or_default();
        let name = Path::new(&argv0).file_name().unwrap_or(&argv0);
        // Control characters in argv[0] must not break the line.
        name.to_string_lossy().replace(char::is_control, "?")
    })
}
