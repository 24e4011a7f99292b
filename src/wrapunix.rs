//! The process side of the listings: fork, close, signals, the child's exit.
//!
//! The book's `lib/wrapunix.c`, and the one room with `unsafe` in it.
#![allow(unsafe_code)]

use crate::error::{err_ret, program, say, sys_error};
use crate::trace;
use crate::wrapsock::Sockfd;
use anyhow::Result;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_void, pid_t, siginfo_t};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{self, SIGCHLD, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow};
use nix::unistd::{self, ForkResult, Pid};
use std::fmt;
use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// fork(2): one call, two returns (fork函数).
///
/// Descriptors that are open before it are shared by parent and child after it:
/// each holds a reference, and the connection ends when the last one is closed.
///
/// A child has only the thread that forked. Had the process others, the child
/// could find locks that they held and that nobody will ever release. So this
/// Fork asks the kernel first whether it is called by the process's only thread;
/// then nobody can start another between the question and the fork, the child is
/// a whole copy of a process at rest, and whatever safe code may do in the parent
/// it may do in the child. That makes it sound to call without `unsafe`.
///
/// It is the fork of POSIX that runs no handlers, `_Fork` (glibc 2.34, musl 1.2.2): what
/// fork does besides is for processes with several threads or with handlers of
/// pthread_atfork, and costs each child three pages of its own. A program that has such
/// handlers, or a library that does, must not use this Fork.
///
/// # Errors
/// The bare errno, since only the caller knows for whom the child was to be (see
/// [`fork_failed`]): too many processes (`EAGAIN`), no memory (`ENOMEM`), or
/// `EDEADLK` in a process with more than one thread.
pub fn Fork() -> nix::Result<ForkResult> {
    if !single_threaded() {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: _Fork is declared as the C library has it. It is unsafe because the
    // child of a process with several threads may only do what a signal handler may.
    // The check above has just shown that this process has one thread, and only that
    // thread, which is here, could start a second. (No handler of ours starts threads.)
    // So each lock that is held is held by this thread, which lives on in both processes
    // and releases it in each. It could be one of malloc's only within a signal handler;
    // none of ours forks, and to install another takes `unsafe`.
    let childpid = Errno::result(unsafe { _Fork() }).map(|pid| match pid {
        0 => ForkResult::Child,
        pid => ForkResult::Parent {
            child: Pid::from_raw(pid),
        },
    });
    if trace::on() {
        match childpid {
            Ok(ForkResult::Child) => {
                trace::in_child();
                trace::elsewhere(format_args!("fork() = 0"));
            }
            Ok(ForkResult::Parent { child }) => trace::elsewhere(format_args!("fork() = {child}")),
            Err(errno) => trace::elsewhere(format_args!("fork() = -1, {}", errno.desc())),
        }
    }
    childpid
}

unsafe extern "C" {
    fn _Fork() -> pid_t;
}

/// Whether the calling thread is the only one of its process.
///
/// unshare(2) with CLONE_THREAD changes nothing and succeeds just then, at a
/// tenth of the price of a look into /proc, which is asked where a sandbox
/// forbids unshare: a directory has two links and one more for each thread in it.
fn single_threaded() -> bool {
    unshare(CloneFlags::CLONE_THREAD).is_ok()
        || fs::metadata("/proc/self/task").is_ok_and(|task| task.nlink() == 3)
}

/// What a server does about a failed [`Fork`]: a shortage passes, so it is said,
/// with the client that goes without a child, and the server lives on.
///
/// # Errors
/// `fork error: PEER: …` when no fork will ever succeed.
pub fn fork_failed(errno: Errno, cliaddr: SocketAddr) -> Result<()> {
    let error = sys_error("fork error", cliaddr, errno);
    if !fork_passes(errno) {
        return Err(error);
    }
    err_ret(&error);
    Ok(())
}

fn fork_passes(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOMEM)
}

/// close(2): gives up this process's reference to a descriptor (close函数).
///
/// It consumes its argument, so that a closed descriptor cannot be used any more:
///
/// ```compile_fail,E0382
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Close(sockfd);
/// Writen(&sockfd, b"hello\n")?; // error[E0382]: borrow of moved value: `sockfd`
/// # Ok(())
/// # }
/// ```
///
/// Ownership counts the reference on this side; the kernel counts those of all
/// processes. Only when the last one goes does TCP send its FIN, behind the data
/// that still waits to be sent; close itself returns at once.
///
/// Linux frees the descriptor even when close fails, so there is nothing left to
/// be done about an error, but it is said (`close error`).
pub fn Close(sockfd: Sockfd) {
    let closing = trace::on().then(|| trace::Closing::new(&sockfd));
    match unistd::close(OwnedFd::from(sockfd)) {
        Ok(()) | Err(Errno::EINTR) => {}
        Err(errno) => err_ret(&sys_error("close error", "socket", errno)),
    }
    if let Some(closing) = closing {
        closing.closed("");
    }
}

/// _exit(2): how a child leaves.
///
/// The listing calls exit, which would flush and tear down what the child holds
/// in copy from its parent; `_exit` leaves that to the parent. The kernel closes
/// the descriptors of the process all the same.
pub fn _exit(status: i32) -> ! {
    if trace::on() {
        trace::elsewhere(format_args!("_exit({status})"));
    }
    // SAFETY: _exit has no preconditions; it runs no code of this process.
    unsafe { libc::_exit(status) }
}

/// A signal handler that is safe to install: the field is private, so that each
/// one is written, and argued for, in this file.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int, *mut siginfo_t, *mut c_void));

/// Reaps every child that has ended, so that none stays a zombie, and says of one
/// that was killed by which signal.
///
/// Signals are not counted: children that end at the same time may send a single
/// SIGCHLD. Hence the loop, which asks for any child; but first for the one that the
/// signal tells of, since the kernel looks for any among all that live.
#[allow(non_upper_case_globals)]
pub const sig_chld: Handler = Handler(reap);

extern "C" fn reap(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel hands a whole siginfo to a handler with SA_SIGINFO, as `Signal`
    // installs it. Should the signal be none that has a process, this is some number,
    // and nothing worse comes of it than a waitpid in vain.
    let mut which = unsafe { (*info).si_pid() };
    let mut status = 0;
    loop {
        // SAFETY: waitpid is async-signal-safe, and `status` lives through the call.
        match unsafe { libc::waitpid(which, &raw mut status, libc::WNOHANG) } {
            pid @ 1.. => reaped(which, pid, &ExitStatus(status)),
            _ if which == -1 => break,
            _ => {} // reaped already, or the signal came from somebody else
        }
        which = -1;
    }
    Errno::set_raw(errno);
}

fn reaped(which: pid_t, pid: pid_t, status: &ExitStatus) {
    REAPED.fetch_add(1, Ordering::Relaxed);
    if libc::WIFSIGNALED(status.0) {
        say(format_args!("child {pid} {status}"));
    }
    if trace::on() {
        trace::elsewhere(format_args!("waitpid({which}) = {pid}, which {status}"));
    }
}

/// How a child ended: the status of waitpid.
struct ExitStatus(c_int);

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if libc::WIFSIGNALED(self.0) {
            let signal = libc::WTERMSIG(self.0);
            // A real-time signal has no name here.
            let name = signal::Signal::try_from(signal).map_or("real-time", |name| name.as_str());
            write!(f, "was killed by signal {signal} ({name})")
        } else {
            write!(f, "exited with status {}", libc::WEXITSTATUS(self.0))
        }
    }
}

/// How many children [`sig_chld`] has reaped since this process began.
static REAPED: AtomicUsize = AtomicUsize::new(0);

/// A server's children, and how many of them may live at a time.
///
/// Each child that [`sig_chld`] reaps counts as one of them. So a process that has
/// others, as one that got them with its exec, or the first of a container, which
/// inherits orphans, serves one client more than `most` for each that has ended.
#[derive(Debug)]
pub struct Children {
    most: usize,
    option: &'static str,
    /// What [`REAPED`] will be when the last of them is gone.
    reaped_in_the_end: usize,
    said: bool,
}

impl Children {
    /// At most so many; 0 is any number. `option` is what the user knows that limit by.
    #[must_use]
    pub fn at_most(most: usize, option: &'static str) -> Self {
        Children {
            most,
            option,
            reaped_in_the_end: REAPED.load(Ordering::Relaxed),
            said: false,
        }
    }

    /// Counts one that [`Fork`] has made.
    pub fn born(&mut self) {
        self.reaped_in_the_end = self.reaped_in_the_end.wrapping_add(1);
    }

    /// Sleeps while as many live as may, until [`sig_chld`] reaps one. Meanwhile the
    /// kernel's queue of complete connections holds the clients (listen函数).
    ///
    /// That the limit is met is said the first time.
    ///
    /// # Errors
    /// `sigsuspend error: …`; none is known.
    pub fn wait_for_room(&mut self) -> Result<()> {
        if !self.full() {
            return Ok(());
        }
        if !self.said {
            let Children { most, option, .. } = self;
            say(format_args!(
                "{most} clients, as many as {option} allows: others wait in the queue"
            ));
            self.said = true;
        }
        // SIGCHLD is kept out between the look and the sleep, which lets it in and
        // begins in one step: no child can end unnoticed in between.
        let asleep = || {
            let before = SigSet::from(SIGCHLD).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
            while self.full() {
                before.suspend()?;
            }
            before.thread_set_mask()
        };
        asleep().map_err(|errno| sys_error("sigsuspend error", "SIGCHLD", errno))
    }

    fn full(&self) -> bool {
        // One may be reaped before it is counted: the difference has a sign.
        let reaped = REAPED.load(Ordering::Relaxed);
        let living = self.reaped_in_the_end.wrapping_sub(reaped) as isize;
        self.most != 0 && living >= self.most as isize
    }
}

/// sigaction(2): installs a signal handler, and lets the signal through should
/// the process have been started with it blocked.
///
/// Without SA_RESTART, so that a sleeping call returns EINTR when the signal
/// comes, as the listings have it; children that merely stop send nothing.
///
/// # Errors
/// `sigaction error: SIGNAL: …`, as for a signal that cannot be caught (`EINVAL`).
pub fn Signal(signal: signal::Signal, handler: Handler) -> Result<()> {
    let action = SigAction::new(
        SigHandler::SigAction(handler.0),
        SaFlags::SA_NOCLDSTOP,
        SigSet::empty(),
    );
    let mut unblock = SigSet::empty();
    unblock.add(signal);
    program(); // now, so that a handler finds the name there
    // SAFETY: sigaction is unsafe because a handler may do only what is
    // async-signal-safe. Every `Handler` is made in this file, and is: see `reap`.
    unsafe { signal::sigaction(signal, &action) }
        .and_then(|_| signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&unblock), None))
        .map_err(|errno| sys_error("sigaction error", signal, errno))
}

/// How many seconds this place's clocks are ahead of UTC.
pub(crate) fn utc_offset() -> i64 {
    // SAFETY: both calls are given what they ask for, and localtime_r writes to a `tm`
    // of its caller's; all zeros is a `tm` (the pointer in it may be null).
    unsafe {
        let now = libc::time(ptr::null_mut());
        let mut local: libc::tm = mem::zeroed();
        libc::localtime_r(&now, &mut local);
        local.tm_gmtoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_passes_and_nothing_else_does() {
        for (errno, passes) in [
            (Errno::EAGAIN, true),
            (Errno::ENOMEM, true),
            (Errno::EDEADLK, false),
            (Errno::ENOSYS, false),
            (Errno::EPERM, false),
        ] {
            assert_eq!(fork_passes(errno), passes, "{errno}");
        }
    }

    #[test]
    fn fork_refuses_a_process_with_a_second_thread() {
        // The test harness is one.
        assert_eq!(Fork().unwrap_err(), Errno::EDEADLK);
    }
}
