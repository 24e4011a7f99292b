//! Error messages on one line: program, call, argument, reason.
//!
//! In the book's `lib/error.c`, each wrapper prints the error and exits. Here, a wrapper returns
//! the error, which includes the reason, and err_ret or err_quit prints the error; so err_quit also
//! replaces the book's err_sys.

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

/// Prints the error and its reason as one line on standard error, and returns.
///
/// `tcpserv: bind error: 0.0.0.0:9877: Address already in use (os error 98)`
pub fn err_ret(error: &Error) {
    err_msg(format_args!("{error:#}"));
}

/// Prints the error as [`err_ret`] does, then terminates the process with status 1. If the error is
/// [`StdoutClosed`], err_quit prints nothing, and the status is 0.
pub fn err_quit(error: &Error) -> ! {
    let status = if error.is::<StdoutClosed>() { 0 } else { 1 };
    if status != 0 {
        err_ret(error);
    }
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// The error returned by [`str_cli()`](crate::str_cli()) and
/// [`str_cli_batch()`](crate::str_cli_batch()) if the server's FIN arrives before the end of an
/// echo. `error.is::<ServerTerminated>()` recognises this error.
#[derive(Clone, Copy, Debug)]
pub struct ServerTerminated;

impl Display for ServerTerminated {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("str_cli: server terminated prematurely")
    }
}

/// The error returned by [`Fputs`](crate::Fputs) if standard output no longer has a reader, as in
/// `tcpcli … | head -1`. In C, `SIGPIPE` would kill the program. Rust programs ignore the signal,
/// and write fails (`EPIPE`).
#[derive(Clone, Copy, Debug)]
pub struct StdoutClosed;

impl Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("fputs error: standard output: closed by its reader")
    }
}

/// Prints any message on standard error, as one line of at most 512 bytes: `program: message`. Each
/// line is a single write, so the lines printed by a parent and its children do not mix.
///
/// If standard error is full and nobody reads it, the line is lost, because a message must not
/// block a server. (Another user's terminal that nobody reads can still block a server, because the
/// server cannot reopen that terminal.) Once [`Signal`](crate::Signal) has been called, a signal
/// handler may call err_msg: it takes no lock, and allocates only what formatting the message does
/// (an io::Error allocates).
pub fn err_msg(message: impl Display) {
    write_line(format_args!("{}: {message}", program()), |line| {
        // The descriptor itself is left unchanged, because other processes may share it. A terminal
        // or a pipe is reopened with O_NONBLOCK, so that a write fails if it would block. (poll
        // alone is not enough: poll reports a terminal as ready even if only part of the line
        // fits, and a child may fill the pipe first. With O_NOCTTY a terminal does not become the
        // controlling one.) A regular file is not reopened, to avoid overwriting its start. A
        // socket cannot be reopened.
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
