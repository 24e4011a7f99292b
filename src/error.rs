//! Error messages on one line: program, call, argument, reason.
//!
//! The book's `lib/error.c`. There each wrapper prints and exits. Here it returns the error,
//! which holds the reason, and these functions print it. So err_quit is also the book's err_sys.

use crate::retry::{Blocking, retry, wait};
use anyhow::{Error, Result};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::PollFlags;
use std::fmt::{self, Arguments, Display};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::{env, fs::File, path::Path, process, sync::OnceLock, time::Duration};

/// Prints the error on standard error, in one line, and returns.
///
/// `tcpserv: bind error: 0.0.0.0:9877: Address already in use (os error 98)`
pub fn err_ret(error: &Error) {
    err_msg(format_args!("{error:#}"));
}

/// Prints the error like [`err_ret`], then ends the process with status 1. (After [`StdoutClosed`] it
/// prints nothing, and the status is 0.)
pub fn err_quit(error: &Error) -> ! {
    process::exit(status_after(error))
}

/// The status for an exit after this result: 0, or 1 after an error, which it prints like [`err_ret`].
/// [`StdoutClosed`] is no error.
#[must_use]
#[inline] // so a child touches a page of code less
pub fn exit_status(result: Result<(), impl Into<Error>>) -> i32 {
    result.map_or_else(|error| status_after(&error.into()), |()| 0)
}

fn status_after(error: &Error) -> i32 {
    if error.is::<StdoutClosed>() {
        return 0;
    }
    err_ret(error);
    1
}

/// Nobody reads standard output any more, as in `tcpcli … | head -1`. A program in C is killed by
/// `SIGPIPE` then; Rust programs ignore it, and write fails (`EPIPE`).
#[derive(Clone, Copy, Debug)]
pub struct StdoutClosed;

impl Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("fputs error: standard output: its reader has gone")
    }
}

/// Prints `program: message` on standard error: one line of at most 512 bytes, in one
/// write, so that the lines of a parent and its children do not mix.
///
/// If nobody reads standard error and it is full, the line is lost: a server must not stop for a
/// message. It takes no lock, and after [`Signal`](crate::Signal) it allocates nothing, so a
/// signal handler may call it.
pub fn err_msg(message: impl Display) {
    write_line(format_args!("{}: {message}", program()), |line| {
        // The descriptor stays as it is: other processes may share it. A terminal or a pipe is opened
        // once more, with O_NONBLOCK: then a write that would have to wait fails. A regular
        // file, opened anew, would be written from its start. A socket cannot be opened.
        let mut options = File::options();
        options.write(true).custom_flags(O_NONBLOCK | O_NOCTTY);
        let opened = options.open("/proc/self/fd/2");
        let opened = opened.and_then(|file| Ok((file.metadata()?.file_type(), file)));
        let is_ready = || wait(io::stderr(), PollFlags::POLLOUT, Some(Duration::ZERO));
        match opened {
            Ok((kind, mut file)) if kind.is_char_device() || kind.is_fifo() => {
                retry(|| file.write(line))
            }
            _ if is_ready().is_ok_and(|ready| !ready) => Ok(0),
            _ => Blocking(io::stderr()).write(line),
        }
    });
}

/// Makes a line of at most 512 bytes, and writes it.
pub(crate) fn write_line(text: Arguments, write: impl FnOnce(&[u8]) -> io::Result<usize>) {
    let mut line = [b'\n'; 512]; // the byte behind the text stays a newline
    let mut room = &mut line[..511];
    let _ = room.write_fmt(text); // it fails when the room ends; what fits is in the line
    let len = 511 - room.len();
    let _ = write(&line[..=len]); // there is nowhere to report a failure of standard error
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
