//! Signal handling, and the number of children.
//!
//! In the book, Signal is in `lib/signal.c`, and the handler is in chapter 5.

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

/// Installs [`sig_chld`] for `SIGCHLD`, and unblocks the signal, in case the process inherited it
/// blocked: [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
///
/// Unlike the book's Signal, this function does not set SA_RESTART, so that readers see EINTR: a
/// call that is blocked when the signal arrives fails with this error. When a child terminates,
/// SIGCHLD interrupts accept in the parent, and [`Accept`](crate::Accept) restarts the call; `goto
/// again` in str_echo does the same for read. A child that merely stops generates no SIGCHLD.
/// Children that terminated before Signal was called stay zombies until the next SIGCHLD.
///
/// # Errors
/// `sigaction error: SIGNAL: …`: `signo` is not SIGCHLD.
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
/// wait_for_room(1); // waits until the handler has reaped the child
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
    program(); // allocates the program's name now, because a signal handler must not allocate
    if !REAPS.swap(true, SeqCst) {
        CHILDREN.store(0, SeqCst); // in a child created by Fork, the count is still the parent's
    }
    // SAFETY: sigaction is unsafe because a handler must be async-signal-safe. The only handler,
    // `reap`, makes only async-signal-safe system calls, formats text in an array on its stack,
    // uses a program name that is already allocated, takes no lock, and restores errno.
    unsafe { signal::sigaction(signo, &action) }
        .and_then(|_| sigprocmask(SIG_UNBLOCK, Some(&signo.into()), None))
        .map_err(io::Error::from)
        .with_context(|| format!("sigaction error: {signo}"))
}

/// A signal handler (the book's `Sigfunc *`). The field is private, so only this file creates
/// handlers.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int));

/// The handler for `SIGCHLD`, which reaps every child that has terminated, so that no child remains
/// a zombie, and prints a message if a signal killed the child.
///
/// Several children that terminate together may generate only one SIGCHLD, so the handler calls
/// waitpid in a loop, as the book's handler does later in the chapter. A child created by Fork
/// inherits the handler, but in the child the handler does nothing, so the child can run a command
/// and wait for it. If the parent runs a command, the handler may reap the command before the
/// parent waits for it, and then `wait`, `output` and `status` of `Command` fail with `ECHILD`. Do
/// not call wait for children created by Fork.
pub const sig_chld: Handler = Handler(reap);

/// Whether the handler reaps children in this process: set by Signal, and cleared in a new child.
pub(crate) static REAPS: AtomicBool = AtomicBool::new(false);

/// The number of children. Fork increments the count before it calls fork, and the handler
/// decrements the count for each child that it reaps.
pub(crate) static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Decrements the count, unless it is 0: the handler also reaps children that Fork did not create.
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

/// Waits while this process has at least `max_children` children, until [`sig_chld`] reaps a child.
/// Meanwhile, further clients wait in the completed connection queue (listen函数). The first call
/// that waits prints a message. If `max_children` is 0, there is no limit.
///
/// The count includes children created by [`Fork`](crate::Fork) after the call to [`Signal`];
/// without Signal, this function returns at once. Call wait_for_room in the thread that forks.
/// (When a child that was not counted terminates, one child more than the limit may be created.)
pub fn wait_for_room(max_children: u32) {
    static SAID: Once = Once::new();
    // Without Signal, nothing would ever decrement the count.
    let limits = || max_children > 0 && REAPS.load(SeqCst);
    let is_full = || limits() && CHILDREN.load(SeqCst) >= max_children;
    if is_full() {
        SAID.call_once(|| err_msg("child limit reached; further clients wait"));
        // SIGCHLD is blocked between the check and the wait. sigsuspend unblocks SIGCHLD and waits
        // in one step, so no child can terminate unnoticed in between.
        let mut before = SigSet::empty();
        let _ = sigprocmask(SIG_BLOCK, Some(&SIGCHLD.into()), Some(&mut before));
        let mut unblocked = before;
        unblocked.remove(SIGCHLD); // the caller may have blocked SIGCHLD
        while is_full() {
            trace::print("sigsuspend sleeps");
            let _ = unblocked.suspend(); // returns after a signal
        }
        let _ = sigprocmask(SIG_SETMASK, Some(&before), None);
    }
}
