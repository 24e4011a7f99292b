//! Process and descriptor functions: Fork, Close, exit and _exit.
//!
//! In the book, Fork and Close are in `lib/wrapunix.c`; `exit` and `_exit` are C functions.

use crate::signal::{CHILDREN, REAPS, one_child_less};
use crate::sockfd::Sockfd;
use crate::trace;
use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::{ForkResult, fork};
use std::sync::atomic::Ordering::SeqCst;
use std::{io, process};

/// Creates a child process: Fork is called once but returns twice
/// ([fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html); fork函数).
///
/// Parent and child share the open descriptors. A connection is closed when the last reference to
/// it is closed (并发服务器; see [the figures](crate::doc::figures)). The child must terminate with
/// [`_exit`]: after a `?` or a panic, it would continue in the parent's functions, where
/// destructors could delete the parent's files. In a `#[test]`, a failed assertion in the child
/// would be reported as ok.
///
/// # Safety
/// The process must be single-threaded: the child has only the thread that called Fork, and a lock
/// held by another thread, for instance in malloc, would never be released in the child.
///
/// # Errors
/// `fork error: …`: there are too many processes (`EAGAIN`) or not enough memory (`ENOMEM`).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # use nix::sys::wait::{WaitStatus, waitpid};
/// // SAFETY: this process is single-threaded.
/// match unsafe { Fork() }? {
///     ForkResult::Child => _exit(7),
///     ForkResult::Parent { child } => {
///         assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 7));
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub unsafe fn Fork() -> Result<ForkResult> {
    CHILDREN.fetch_add(1, SeqCst); // before fork: the child may exit before fork returns
    // SAFETY: the caller guarantees that the process is single-threaded.
    let forked = trace::forking(|| unsafe { fork() }.map_err(io::Error::from));
    match forked {
        Ok(ForkResult::Child) => REAPS.store(false, SeqCst), // the child has no children yet
        Ok(ForkResult::Parent { .. }) => {}
        Err(_) => one_child_less(),
    }
    forked.context("fork error")
}

/// Releases this process's reference to a socket:
/// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html) (close函数).
///
/// Close consumes its argument, so code that uses a closed descriptor does not compile. The page
/// [Without the line](crate::doc::without_the_line) shows this, and what happens if a server does
/// not call Close.
///
/// The kernel counts the references held by all processes. TCP sends the FIN only when the last
/// reference is closed, after any data that is still queued. (If the process has not read all the
/// data received, Linux sends an RST instead.) Close itself returns at once, and reports no error,
/// because on Linux close always frees the descriptor.
pub fn Close(sockfd: Sockfd) {
    trace::closes(&sockfd);
    drop(sockfd);
}

/// Terminates the process, as the client's listing does:
/// [exit(3)](https://man7.org/linux/man-pages/man3/exit.3.html).
///
/// The kernel closes all open descriptors, and closing the socket sends the FIN (正常终止步骤 2, 3). This
/// function is [`std::process::exit`], but appears in the [trace](crate::trace_start).
pub fn exit(status: i32) -> ! {
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// Terminates a child process: [_exit(2)](https://man7.org/linux/man-pages/man2/_exit.2.html).
///
/// The kernel closes all open descriptors, and closing connfd sends the FIN (正常终止步骤 5, 6). In the
/// listing, the child calls exit, which also flushes the child's copies of the parent's buffers;
/// `_exit` leaves the flushing to the parent.
///
/// A child must not return to the parent's functions (see [`Fork`]), so do not use `?` in the
/// child's code, and build a server with `panic = "abort"`, as the release profile does here
/// (`cargo test` ignores this setting).
pub fn _exit(status: i32) -> ! {
    trace::exits(format_args!("_exit({status})"));
    // SAFETY: _exit has no preconditions, and runs no further code in this process.
    unsafe { libc::_exit(status) }
}
