//! Processes and descriptors: fork, close, the exits.
//!
//! The book's `lib/wrapunix.c`; `exit` and `_exit` are C's.

use crate::signal::{CHILDREN, REAPS, one_child_less};
use crate::sockfd::Sockfd;
use crate::trace;
use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::{ForkResult, fork};
use std::sync::atomic::Ordering::SeqCst;
use std::{io, process};

/// Forks the process: one call, two returns
/// ([fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html); fork函数).
///
/// Parent and child share the open descriptors. A connection is closed when its last reference is
/// closed (并发服务器; see [the figures](crate::doc::figures)). The child must leave with [`_exit`]: after
/// a `?` or a panic it would continue in its parent's functions, whose destructors could delete the
/// parent's files. In a `#[test]`, the harness would report ok for a failed assertion in the child.
///
/// # Safety
/// The process must be single-threaded. The child has only the thread that called Fork. Another
/// thread could hold a lock, in malloc for instance, that would never be released in the child.
///
/// # Errors
/// `fork error: …`: too many processes (`EAGAIN`), not enough memory (`ENOMEM`).
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
    // SAFETY: the caller promises it.
    let forked = trace::forking(|| unsafe { fork() }.map_err(io::Error::from));
    match forked {
        Ok(ForkResult::Child) => REAPS.store(false, SeqCst), // it has no children yet
        Ok(ForkResult::Parent { .. }) => {}
        Err(_) => one_child_less(),
    }
    forked.context("fork error")
}

/// Gives up this process's reference to a socket:
/// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html) (close函数).
///
/// It consumes its argument, so using a closed descriptor does not compile.
/// [Without the line](crate::doc::without_the_line) shows this, and what happens if a server does
/// not call Close.
///
/// The kernel counts the references of all processes. Only when the last one is closed does TCP
/// send its FIN, after the data that is still queued. (If the process has not read everything it
/// received, Linux sends an RST instead.) Close itself returns at once. It reports no error,
/// because on Linux close always frees the descriptor.
pub fn Close(sockfd: Sockfd) {
    trace::closes(&sockfd);
    drop(sockfd);
}

/// Terminates the process, as the client's listing does:
/// [exit(3)](https://man7.org/linux/man-pages/man3/exit.3.html).
///
/// The kernel closes all open descriptors, and closing the socket sends the FIN (正常终止步骤 2, 3). It
/// is [`std::process::exit`], and appears in the [trace](crate::trace_start).
pub fn exit(status: i32) -> ! {
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// Terminates a child: [_exit(2)](https://man7.org/linux/man-pages/man2/_exit.2.html).
///
/// The kernel closes all open descriptors, and closing connfd sends the FIN (正常终止步骤 5, 6). The
/// listing calls exit, which also flushes the child's copies of its parent's buffers. `_exit`
/// leaves that to the parent.
///
/// A child must not return to its parent's functions: see [`Fork`]. So use no `?` in the child's
/// part, and build a server with `panic = "abort"`, as the release profile does here (`cargo test`
/// ignores it).
pub fn _exit(status: i32) -> ! {
    trace::exits(format_args!("_exit({status})"));
    // SAFETY: _exit has no preconditions, and runs no code of this process.
    unsafe { libc::_exit(status) }
}
