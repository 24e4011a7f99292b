//! Signals, and the children that are alive.
//!
//! The book's `lib/signal.c`, and the handler of its chapter 5.

use crate::error::{err_msg, program};
use crate::trace;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::SigmaskHow::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
use nix::sys::signal::{self, SIGCHLD, SaFlags, SigAction, SigHandler, SigSet, sigprocmask};
use nix::unistd::ForkResult;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::{io, process::ExitStatus, sync::Once};

/// sigaction(2): installs a signal handler, and unblocks the signal: the process may have been
/// started with it blocked.
///
/// Unlike the book's Signal it does not set SA_RESTART, so that a reader sees EINTR: a call that sleeps
/// when the signal comes fails with it. At a child's end that is the parent's accept, which
/// [`Accept`](crate::Accept) calls again; str_echo has its `goto again` for the same reason. A child that
/// only stops causes no SIGCHLD. No second thread may run while children end: sig_chld takes no lock.
///
/// # Errors
/// `sigaction error: SIGNAL: …`: the signal cannot be caught (`EINVAL`).
pub fn Signal(signo: signal::Signal, handler: Handler) -> Result<()> {
    let handler = SigHandler::Handler(handler.0);
    let action = SigAction::new(handler, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    program(); // allocates the name now: a signal handler must not allocate
    let reaps = REAPS.load(SeqCst);
    if !reaps {
        COUNT.store(0, SeqCst); // in a child of Fork the entries are its parent's
        REAPS.store(true, SeqCst);
    }
    // SAFETY: sigaction is unsafe because a handler may do only what is async-signal-safe. All
    // handlers are in this file. `reap` makes system calls that are; it formats into an array on its
    // stack; the program's name is there already; it takes no lock, and restores errno.
    unsafe { signal::sigaction(signo, &action) }
        .and_then(|_| sigprocmask(SIG_UNBLOCK, Some(&signo.into()), None))
        .inspect_err(|_| REAPS.store(reaps, SeqCst))
        .map_err(io::Error::from)
        .with_context(|| format!("sigaction error: {signo}"))
}

/// A signal handler that is safe to install: the book's `Sigfunc *`. Its field is private, so all
/// handlers are in this file.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int));

/// The handler of `SIGCHLD`: reaps every child that has ended, so that none stays a zombie,
/// and prints which signal has killed a child that [`Fork`](crate::Fork) made.
///
/// Several children that end together may cause only one SIGCHLD, so the handler calls waitpid
/// in a loop, as later in the book's chapter. A child of Fork inherits the handler, but there it does
/// nothing: a command that the child runs keeps its status for the child. In the parent the handler
/// may reap a command first; then `Command::status()` fails with `ECHILD`.
pub const sig_chld: Handler = Handler(reap);

/// Whether the handler reaps. True after Signal; false while Fork runs, and in a child of Fork.
static REAPS: AtomicBool = AtomicBool::new(false);

/// The children that [`Fork`](crate::Fork) has made since Signal, and [`sig_chld`] has not reaped; the
/// first COUNT entries are in use. When no entry is free, a new child is reaped, but neither counted nor
/// printed; is_full allows no more than there are entries.
static CHILDREN: [AtomicI32; 65_536] = [const { AtomicI32::new(0) }; 65_536];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether the handler was called while it did not reap.
static MISSED: AtomicBool = AtomicBool::new(false);

/// Calls fork, and puts the child into CHILDREN. The child may end before that, so until then the
/// handler reaps nothing.
pub(crate) fn note_child(fork: fn() -> nix::Result<ForkResult>) -> nix::Result<ForkResult> {
    let reaps = REAPS.swap(false, SeqCst);
    let forked = fork();
    if let Ok(ForkResult::Child) = forked {
        return forked; // it writes to no static: that would copy a page more
    }
    let free = CHILDREN.get(COUNT.load(SeqCst));
    if let (Ok(ForkResult::Parent { child }), Some(free)) = (&forked, free) {
        free.store(child.as_raw(), SeqCst);
        COUNT.fetch_add(1, SeqCst);
    }
    REAPS.store(reaps, SeqCst);
    if reaps && MISSED.swap(false, SeqCst) {
        let _ = signal::raise(SIGCHLD); // not a call of `reap`: the handler could interrupt that
    }
    forked
}

extern "C" fn reap(_: c_int) {
    if !REAPS.load(SeqCst) {
        return MISSED.store(true, SeqCst);
    }
    let errno = Errno::last_raw();
    let mut status = 0;
    // SAFETY: waitpid is async-signal-safe, and `status` lives through the call.
    while let pid @ 1.. = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        let ended = ExitStatus::from_raw(status);
        let alive = &CHILDREN[..COUNT.load(SeqCst)];
        // A child that Fork did not make has no place there.
        if let Some(place) = alive.iter().rposition(|child| child.load(SeqCst) == pid) {
            let last = COUNT.fetch_sub(1, SeqCst) - 1;
            CHILDREN[place].store(CHILDREN[last].load(SeqCst), SeqCst);
            trace::print(format_args!("waitpid(-1) = {pid}, {ended}"));
            if ended.signal().is_some() {
                err_msg(format_args!("child {pid} was killed, {ended}"));
            }
        }
    }
    Errno::set_raw(errno);
}

/// Whether this process has `max_children` children or more; a limit of 0 is none.
///
/// It counts the children that [`Fork`](crate::Fork) has made since [`Signal`], until [`sig_chld`] reaps
/// them. Without sig_chld it is false. A limit above 65,536 counts as 65,536.
pub fn is_full(max_children: u32) -> bool {
    let limit = CHILDREN.len().min(max_children as usize);
    REAPS.load(SeqCst) && max_children > 0 && COUNT.load(SeqCst) >= limit
}

/// Sleeps while this process [`is_full`]: until [`sig_chld`] reaps a child. The next clients wait
/// in the kernel's queue of complete connections (listen函数). The first time it prints a message.
pub fn wait_for_room(max_children: u32) {
    static SAID: Once = Once::new();
    if is_full(max_children) {
        SAID.call_once(|| err_msg("the limit of children is reached: the next clients wait"));
        // SIGCHLD is blocked between the check and the sleep. sigsuspend unblocks it and sleeps in one
        // step, so no child can end unnoticed in between. Where a sandbox refuses the first call, `before`
        // is empty, and a signal may come in between.
        let mut before = SigSet::empty();
        let _ = sigprocmask(SIG_BLOCK, Some(&SIGCHLD.into()), Some(&mut before));
        while is_full(max_children) {
            let _ = before.suspend(); // it returns after a signal
        }
        let _ = sigprocmask(SIG_SETMASK, Some(&before), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_the_number_of_entries_is_that_number() {
        let counts = |n| {
            COUNT.store(n, SeqCst);
            [is_full(65_536), is_full(u32::MAX), is_full(0)]
        };
        REAPS.store(true, SeqCst);
        let fewer = counts(65_535);
        let all = counts(65_536);
        REAPS.store(false, SeqCst);
        assert_eq!(fewer, [false; 3]);
        assert_eq!(all, [true, true, false]);
    }
}
