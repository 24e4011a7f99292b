//! Signals, and the number of children.
//!
//! The book's `lib/signal.c`, and the handler from its chapter 5.

use crate::error::err_msg;
use crate::stderr::program;
use crate::trace;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::SigmaskHow::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
use nix::sys::signal::{self, SIGCHLD, SaFlags, SigAction, SigHandler, SigSet, sigprocmask};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::{io, process::ExitStatus, sync::Once};

/// Installs [`sig_chld`] for `SIGCHLD`, and unblocks the signal, because the process may have
/// inherited it blocked: [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
///
/// Unlike the book's Signal it does not set SA_RESTART, so that readers see EINTR: a call that is
/// blocked when the signal arrives fails with it. When a child terminates, that is the parent's
/// accept, which [`Accept`](crate::Accept) restarts; str_echo has its `goto again` for the same
/// reason. A child that merely stops generates no SIGCHLD. Children that terminated before Signal
/// stay zombies until the next SIGCHLD.
///
/// # Errors
/// `sigaction error: SIGNAL: …`: sig_chld is only for SIGCHLD.
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// Signal(SIGCHLD, sig_chld)?;
/// // SAFETY: this process is single-threaded.
/// let ForkResult::Parent { child } = (unsafe { Fork() }?) else {
///     _exit(0);
/// };
/// wait_for_room(1); // until the handler has reaped it
/// assert!(!std::fs::exists(format!("/proc/{child}"))?);
/// # Ok(())
/// # }
/// ```
pub fn Signal(signo: signal::Signal, handler: Handler) -> Result<()> {
    ensure!(
        signo == SIGCHLD,
        "sigaction error: {signo}: only SIGCHLD is supported"
    );
    let handler = SigHandler::Handler(handler.0);
    let action = SigAction::new(handler, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    program(); // allocates the name now, because a signal handler must not allocate
    if !REAPS.swap(true, SeqCst) {
        CHILDREN.store(0, SeqCst); // in a child of Fork it is still its parent's count
    }
    // SAFETY: sigaction is unsafe because a handler must be async-signal-safe. The only handler is
    // `reap`. Its system calls are; it formats into an array on its stack; the program's name is
    // already allocated; it takes no lock, and restores errno.
    unsafe { signal::sigaction(signo, &action) }
        .and_then(|_| sigprocmask(SIG_UNBLOCK, Some(&signo.into()), None))
        .map_err(io::Error::from)
        .with_context(|| format!("sigaction error: {signo}"))
}

/// A signal handler: the book's `Sigfunc *`. Its field is private, so only this file creates one.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int));

/// The handler for `SIGCHLD`: reaps every child that has terminated, so that none stays a zombie,
/// and prints which signal killed a child.
///
/// Several children that terminate together may generate only one SIGCHLD, so the handler calls
/// waitpid in a loop, as later in the book's chapter. A child of Fork inherits the handler, but
/// there it does nothing, so the child can run a command and wait for it. In the parent the handler
/// may reap the command first: then `wait`, `output` and `status` of `Command` fail with `ECHILD`.
/// Do not call wait for children of Fork yourself.
pub const sig_chld: Handler = Handler(reap);

/// Whether the handler reaps in this process: Signal sets it, and Fork's child clears it.
pub(crate) static REAPS: AtomicBool = AtomicBool::new(false);

/// The number of children. Fork adds one before each fork; the handler subtracts one for each child
/// that it reaps.
pub(crate) static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Never below 0, because the handler also reaps children that Fork did not create.
pub(crate) fn one_child_less() {
    let _ = CHILDREN.fetch_update(SeqCst, SeqCst, |children| children.checked_sub(1));
}

extern "C" fn reap(_: c_int) {
    if !REAPS.load(SeqCst) {
        return;
    }
    let errno = Errno::last_raw();
    let mut status = 0;
    // SAFETY: waitpid is async-signal-safe, and `status` outlives the call.
    while let pid @ 1.. = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        one_child_less();
        let status = ExitStatus::from_raw(status);
        trace::print(format_args!("waitpid(-1) = {pid}, {status}"));
        if status.signal().is_some() {
            err_msg(format_args!("child {pid} was killed by {status}"));
        }
    }
    Errno::set_raw(errno);
}

/// Waits while this process has `max_children` children or more, until [`sig_chld`] reaps one.
/// Meanwhile further clients wait in the completed connection queue (listen函数). The first time, it
/// prints a message. A limit of 0 is no limit.
///
/// It counts the children that [`Fork`](crate::Fork) has created since [`Signal`], and returns at
/// once if Signal was not called. Call it in the thread that forks. (If a child that it does not count
/// terminates, it may let one child more than the limit be created.)
pub fn wait_for_room(max_children: u32) {
    static SAID: Once = Once::new();
    // Without Signal, nothing would ever lower the count.
    let limits = || max_children > 0 && REAPS.load(SeqCst);
    let is_full = || limits() && CHILDREN.load(SeqCst) >= max_children;
    if is_full() {
        SAID.call_once(|| err_msg("child limit reached; further clients wait"));
        // SIGCHLD is blocked between the check and the wait. sigsuspend unblocks it and waits in
        // one step, so no child can terminate unnoticed in between.
        let mut before = SigSet::empty();
        let _ = sigprocmask(SIG_BLOCK, Some(&SIGCHLD.into()), Some(&mut before));
        let mut unblocked = before;
        unblocked.remove(SIGCHLD); // the caller may have blocked it
        while is_full() {
            trace::print("sigsuspend sleeps");
            let _ = unblocked.suspend(); // returns after a signal
        }
        let _ = sigprocmask(SIG_SETMASK, Some(&before), None);
    }
}
