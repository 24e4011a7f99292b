//! Processes and descriptors: fork, close, the exits.
//!
//! The book's `lib/wrapunix.c`; `exit` and `_exit` are C's.

use crate::signal::{CHILDREN, one_child_less};
use crate::sockfd::Sockfd;
use crate::trace;
use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::{ForkResult, fork};
use std::sync::atomic::Ordering::SeqCst;
use std::{io, process};

/// fork(2): one call, two returns (fork函数).
///
/// Parent and child share the descriptors that were open before: each process holds a
/// reference, and a connection ends when the last reference is closed (并发服务器; see
/// [the pictures](crate::doc::pictures)).
///
/// # Safety
/// The process has one thread. (The child has only the thread that called Fork. Another could hold a
/// lock, of malloc for instance, which nobody would release in the child.)
///
/// # Errors
/// `fork error: …`: too many processes (`EAGAIN`), no memory (`ENOMEM`).
pub unsafe fn Fork() -> Result<ForkResult> {
    let begin = trace::now();
    CHILDREN.fetch_add(1, SeqCst); // before fork: the child may end before fork returns
    // SAFETY: the caller has promised it.
    let forked = unsafe { fork() }.map_err(io::Error::from);
    if forked.is_err() {
        one_child_less();
    }
    trace::forked(begin, &forked);
    forked.context("fork error")
}

/// close(2): gives up this process's reference to a socket (close函数).
///
/// It consumes its argument, so a closed descriptor cannot be used any more: that does not compile.
/// [Without the line](crate::doc::without_the_line) shows it, and what happens if a server does not
/// call Close.
///
/// The kernel counts the references of all processes. Only when the last one is closed does
/// TCP send its FIN, after the data that still waits to be sent. (If the process has not read all
/// that has come, Linux sends a reset instead.) Close itself returns at once. It prints no error: on Linux
/// close of an open socket frees the descriptor in any case.
pub fn Close(sockfd: Sockfd) {
    drop(sockfd);
}

/// For the trace: first this, then the field's own drop, which calls close.
impl Drop for Sockfd {
    fn drop(&mut self) {
        trace::closes(self);
    }
}

/// exit(3): ends the process, as the client's listing does. The kernel closes all descriptors that
/// are open: the socket's close sends the FIN (正常终止步骤 2, 3).
///
/// It is [`std::process::exit`]; under a [trace](crate::trace_start) it is printed.
pub fn exit(status: i32) -> ! {
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// _exit(2): ends a child. The kernel closes all descriptors that are open: the close of connfd sends
/// the FIN (正常终止步骤 5, 6).
///
/// The listing calls exit, which also flushes buffers that the child has as copies of its
/// parent's. `_exit` leaves that to the parent.
///
/// A child must end with `_exit`. After a `?` or a panic the child would leave the parent's functions,
/// and run their destructors: it could delete the parent's files. So write no `?` in the child's part,
/// and build a server with `panic = "abort"` (here the release profile has it).
pub fn _exit(status: i32) -> ! {
    trace::exits(format_args!("_exit({status})"));
    // SAFETY: _exit has no preconditions, and runs no code of this process.
    unsafe { libc::_exit(status) }
}
