//! Error messages on one line: program, call, argument, reason.
//!
//! The book's `lib/error.c`. There each wrapper prints the error and exits. Here it returns the
//! error, which includes the reason, and these functions print it; so err_quit is also the book's
//! err_sys.

use crate::retry::{Blocking, retry, wait};
use crate::stderr::{program, write_line};
use crate::trace;
use anyhow::Error;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFlags, PollTimeout};
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::process;

/// Prints the error, with its reason, on one line of standard error, and returns.
///
/// `tcpserv: bind error: 0.0.0.0:9877: Address already in use (os error 98)`
pub fn err_ret(error: &Error) {
    err_msg(format_args!("{error:#}"));
}

/// Prints the error like [`err_ret`], then terminates the process with status 1. After
/// [`StdoutClosed`] it prints nothing, and the status is 0.
pub fn err_quit(error: &Error) -> ! {
    let status = if error.is::<StdoutClosed>() { 0 } else { 1 };
    if status != 0 {
        err_ret(error);
    }
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// The error of [`str_cli()`](crate::str_cli()) and [`str_cli_batch()`](crate::str_cli_batch())
/// when the server's FIN arrives before the end of an echo. `error.is::<ServerTerminated>()`
/// recognises it.
#[derive(Clone, Copy, Debug)]
pub struct ServerTerminated;

impl Display for ServerTerminated {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("str_cli: server terminated prematurely")
    }
}

/// The error of [`Fputs`](crate::Fputs) when no process reads standard output any more, as in
/// `tcpcli … | head -1`. A C program is killed by `SIGPIPE` then. Rust programs ignore the signal,
/// and write fails (`EPIPE`).
#[derive(Clone, Copy, Debug)]
pub struct StdoutClosed;

impl Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("fputs error: standard output: closed by its reader")
    }
}

/// Prints `program: message` on standard error, for an error or anything else: one line of at most
/// 512 bytes, in one write, so that the lines of a parent and its children do not mix.
///
/// If standard error is full and nobody reads it, the line is lost, because a server must not block
/// on a message. (It can block on another user's terminal that nobody reads, because it cannot
/// reopen that.) After [`Signal`](crate::Signal) it allocates nothing and takes no lock, so a
/// signal handler may call it.
pub fn err_msg(message: impl Display) {
    write_line(format_args!("{}: {message}", program()), |line| {
        // The descriptor stays as it is, because other processes may share it. A terminal or a pipe
        // is reopened with O_NONBLOCK, so a write that would have to wait fails. (poll alone is not
        // enough: it reports a terminal as ready even if it has room for only part of the line.) A
        // reopened regular file would be overwritten from its start. A socket cannot be reopened.
        let mut options = File::options();
        options.write(true).custom_flags(O_NONBLOCK | O_NOCTTY);
        let opened = options.open("/proc/self/fd/2");
        let opened = opened.and_then(|file| Ok((file.metadata()?.file_type(), file)));
        let is_ready = || wait(io::stderr(), PollFlags::POLLOUT, PollTimeout::ZERO);
        match opened {
            Ok((kind, mut file)) if kind.is_char_device() || kind.is_fifo() => {
                retry(|| file.write(line))
            }
            _ if is_ready().is_ok_and(|ready| !ready) => Ok(0),
            _ => Blocking(io::stderr()).write(line),
        }
    });
}
