//! Signals, and how many children are alive.
//!
//! The book's `lib/signal.c`, and the handler of its chapter 5.

use crate::error::err_msg;
use crate::stderr::program;
use crate::trace;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::SigmaskHow::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
use nix::sys::signal::{self, SIGCHLD, SaFlags, SigAction, SigHandler, SigSet, sigprocmask};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::{io, process, process::ExitStatus, sync::Once};

/// sigaction(2): installs [`sig_chld`] for `SIGCHLD`, and unblocks the signal: the process may have
/// been started with it blocked.
///
/// Unlike the book's Signal it does not set SA_RESTART, so that a reader sees EINTR: a call that sleeps
/// when the signal comes fails with it. At a child's end that is the parent's accept, which
/// [`Accept`](crate::Accept) calls again; str_echo has its `goto again` for the same reason. A child that
/// only stops causes no SIGCHLD.
///
/// # Errors
/// `sigaction error: SIGNAL: …`: sig_chld is for SIGCHLD only.
pub fn Signal(signo: signal::Signal, handler: Handler) -> Result<()> {
    ensure!(signo == SIGCHLD, "sigaction error: {signo}: not SIGCHLD");
    let handler = SigHandler::Handler(handler.0);
    let action = SigAction::new(handler, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    program(); // allocates the name now: a signal handler must not allocate
    let this = process::id();
    if PARENT.swap(this, SeqCst) != this {
        CHILDREN.store(0, SeqCst); // in a child of Fork it is its parent's count
    }
    // SAFETY: sigaction is unsafe because a handler may do only what is async-signal-safe. The only
    // handler is `reap`. Its system calls are; it formats into an array on its stack; the program's name is
    // there already; it takes no lock, and restores errno.
    unsafe { signal::sigaction(signo, &action) }
        .and_then(|_| sigprocmask(SIG_UNBLOCK, Some(&signo.into()), None))
        .map_err(io::Error::from)
        .with_context(|| format!("sigaction error: {signo}"))
}

/// A signal handler: the book's `Sigfunc *`. Its field is private, so that only this file makes one.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int));

/// The handler of `SIGCHLD`: reaps every child that has ended, so that none stays a zombie,
/// and prints which signal has killed a child.
///
/// Several children that end together may cause only one SIGCHLD, so the handler calls waitpid
/// in a loop, as later in the book's chapter. A child of Fork inherits the handler, but there it does
/// nothing: the child can run a command and wait for it. In the parent the handler may reap a command
/// first; then `Command::status()` fails with `ECHILD`. Do not wait for children of Fork yourself.
pub const sig_chld: Handler = Handler(reap);

/// The process that has called Signal, or 0.
static PARENT: AtomicU32 = AtomicU32::new(0);

/// Its children: Fork adds one before each fork, and the handler takes one away for each that it reaps.
pub(crate) static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Not below 0: the handler also reaps children that Fork did not make.
pub(crate) fn one_child_less() {
    let _ = CHILDREN.fetch_update(SeqCst, SeqCst, |children| children.checked_sub(1));
}

extern "C" fn reap(_: c_int) {
    if PARENT.load(SeqCst) != process::id() {
        return;
    }
    let errno = Errno::last_raw();
    let mut status = 0;
    // SAFETY: waitpid is async-signal-safe, and `status` lives through the call.
    while let pid @ 1.. = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        one_child_less();
        let ended = ExitStatus::from_raw(status);
        trace::print(format_args!("waitpid(-1) = {pid}, {ended}"));
        if ended.signal().is_some() {
            err_msg(format_args!("child {pid} was killed, {ended}"));
        }
    }
    Errno::set_raw(errno);
}

/// Sleeps while this process has `max_children` children or more: until [`sig_chld`] reaps one. The
/// next clients wait in the kernel's queue of complete connections (listen函数). The first time it
/// prints a message. A limit of 0 is none.
///
/// It counts the children that [`Fork`](crate::Fork) has made since [`Signal`]. Without Signal it returns at
/// once. (The end of any other child, of one before Signal or of none of Fork's, may let one child more in.)
pub fn wait_for_room(max_children: u32) {
    static SAID: Once = Once::new();
    let is_full = || {
        let full = max_children > 0 && CHILDREN.load(SeqCst) >= max_children;
        full && PARENT.load(SeqCst) == process::id() // else nobody would count them off
    };
    if is_full() {
        SAID.call_once(|| err_msg("the limit of children is reached: the next clients wait"));
        // SIGCHLD is blocked between the check and the sleep. sigsuspend unblocks it and sleeps in one
        // step, so no child can end unnoticed in between.
        let mut before = SigSet::empty();
        let _ = sigprocmask(SIG_BLOCK, Some(&SIGCHLD.into()), Some(&mut before));
        while is_full() {
            trace::print("sigsuspend sleeps");
            let _ = before.suspend(); // it returns after a signal
        }
        let _ = sigprocmask(SIG_SETMASK, Some(&before), None);
    }
}
