//! Processes and signals: fork, close, the child's exit, the reaping of children.
//!
//! The book's `lib/wrapunix.c` and `lib/signal.c`, and the handler of its chapter 5. It is the
//! only file with `unsafe`, so the clock's offset from UTC is here too.
#![allow(unsafe_code)]

use crate::error::{err_ret, program, say};
use crate::sockfd::Sockfd;
use crate::tcp_state::tcp_state;
use crate::trace::{self, shown};
use crate::wrapsock::Getsockname;
use anyhow::{Context, Error, Result};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{self, SIGCHLD, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow};
use nix::unistd::{self, ForkResult};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::{fs::MetadataExt, process::ExitStatusExt};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io, mem, process::ExitStatus, ptr, thread};

/// fork(2): one call, two returns (fork函数).
///
/// Parent and child share the descriptors that were open before: each process holds a
/// reference, and a connection ends when the last reference is closed.
///
/// The child has only the thread that called Fork. Another thread could have held a lock,
/// which nobody would release in the child. So Fork refuses a process with a second thread,
/// and then needs no `unsafe`: the child may do all that the parent may.
///
/// # Examples
///
/// Parent and child both hold the socket. A child that has ended is a zombie until its parent
/// asks for its status, which [`sig_chld`] does.
///
/// ```
/// use unp::*;
/// # use nix::sys::{signal::raise, wait::{Id, WaitPidFlag, waitid}};
/// # use std::{fs, path::Path};
/// # fn main() -> anyhow::Result<()> {
/// let ForkResult::Parent { child } = Fork()? else {
///     _exit(0);
/// };
/// # waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?; // its end
///
/// // Without Signal(SIGCHLD, sig_chld) the child stays a zombie.
/// let stat = fs::read_to_string(format!("/proc/{child}/stat"))?;
/// assert!(stat.contains(") Z "));
///
/// Signal(SIGCHLD, sig_chld)?;
/// # raise(SIGCHLD)?; // what the kernel does at a child's end
/// assert!(!Path::new(&format!("/proc/{child}")).exists());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `fork error: …`: too many processes (`EAGAIN`), no memory (`ENOMEM`), more than one thread
/// (`EDEADLK`).
pub fn Fork() -> Result<ForkResult> {
    let before = trace::on().then(|| (sockets_held(), trace::now()));
    let forked = fork();
    if let Some((mut held, mut when)) = before {
        if let Ok(ForkResult::Child) = forked {
            (held, when) = (sockets_held(), trace::now());
        }
        let result = match &forked {
            Ok(ForkResult::Child) => "0".to_owned(),
            Ok(ForkResult::Parent { child }) => child.to_string(),
            Err(why) => format!("-1, {why}"),
        };
        trace::event(when, None, format!("fork() = {result}, holds {held}"));
    }
    forked.context("fork error")
}

fn fork() -> io::Result<ForkResult> {
    if !is_single_threaded() {
        return Err(Errno::EDEADLK.into());
    }
    // SAFETY: fork is unsafe because the child of a process with several threads may do only
    // what a signal handler may. This process has one thread, which is here, so no other can
    // start a second one. Each lock that is held now is held by this thread, which lives on in
    // both processes and releases it in each. Only a handler that interrupts malloc could fork
    // while malloc's lock is held: no handler of this file forks, and to install another needs
    // `unsafe`.
    let forked = unsafe { unistd::fork() }?;
    if forked.is_child() {
        CHILDREN.store(0, Ordering::Relaxed);
        REAPS.store(false, Ordering::Relaxed);
    } else {
        CHILDREN.fetch_add(1, Ordering::Relaxed);
    }
    Ok(forked)
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
unsafe extern "C" {
    static __libc_single_threaded: AtomicU8;
}

/// Whether the calling thread is the only one of its process.
fn is_single_threaded() -> bool {
    // SAFETY: where glibc has this symbol (2.32), it is a `char` that lives as long as the process.
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    let flag = Some(unsafe { &__libc_single_threaded });
    // SAFETY: likewise; dlsym takes a C string. (In a static program it finds nothing.)
    #[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
    let flag = unsafe {
        let flag = libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr());
        flag.cast::<AtomicU8>().as_ref()
    };
    // glibc may not know that the other threads have ended. In /proc a directory has two links,
    // and one more for each thread in it. A joined thread stays there for a moment: try again.
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
        || (0..15).any(|wait| {
            thread::sleep(Duration::from_millis(wait));
            fs::metadata("/proc/self/task").is_ok_and(|task| task.nlink() == 3)
        })
}

/// The TCP sockets of this process, with their states: `3 LISTEN, 4 ESTABLISHED`.
fn sockets_held() -> String {
    let mut held = Vec::new();
    let descriptors = fs::read_dir("/proc/self/fd").into_iter().flatten();
    for entry in descriptors.flatten() {
        let number = entry.file_name().to_string_lossy().parse().unwrap_or(-1);
        if number >= 0 {
            // SAFETY: /proc has just shown this descriptor. getsockopt only reads from it. Should
            // another thread close it just now, the call fails, or reads another socket's state:
            // no more than a wrong line.
            let state = tcp_state(&unsafe { BorrowedFd::borrow_raw(number) });
            held.extend(state.map(|state| format!("{number} {}", state.name())));
        }
    }
    if held.is_empty() {
        "no socket".to_owned()
    } else {
        held.join(", ")
    }
}

/// close(2): gives up this process's reference to a socket (close函数).
///
/// It consumes its argument, so a closed descriptor cannot be used any more:
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
/// The kernel counts the references of all processes. Only when the last one is closed does
/// TCP send its FIN, after the data that still waits to be sent. If the process has not read all
/// that has come, Linux sends a reset instead. Close itself returns at once.
///
/// Linux frees the descriptor even when close fails; the error is printed.
///
/// # Examples
///
/// Without the parent's `Close(connfd)` the client gets no FIN, and each client costs the parent
/// a descriptor:
///
/// ```
/// # use nix::{errno::Errno, sys::socket::{MsgFlags, recv}, sys::wait::wait};
/// # use std::os::fd::{AsFd, AsRawFd};
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// # Listen(&listenfd, LISTENQ)?;
/// # let mut sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&mut sockfd, Getsockname(&listenfd)?)?;
/// # let read_now = || recv(sockfd.as_fd().as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
/// let (connfd, _) = Accept(&listenfd)?;
/// if let ForkResult::Child = Fork()? {
///     Close(listenfd);
///     _exit(0); // the exit closes the child's connfd
/// }
/// # wait()?;
/// assert_eq!(read_now(), Err(Errno::EAGAIN)); // the child has ended, and no FIN has come
///
/// # let mut sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&mut sockfd, Getsockname(&listenfd)?)?;
/// let (next, _) = Accept(&listenfd)?;
/// assert!(next.as_fd().as_raw_fd() > connfd.as_fd().as_raw_fd()); // the old one is in use
///
/// Close(connfd);
/// assert_eq!(read_now(), Ok(0)); // the FIN
/// # Ok(())
/// # }
/// ```
///
/// Without the child's `Close(listenfd)` the port stays taken after the parent's end, as long as
/// the child lives:
///
/// ```
/// # use nix::sys::wait::wait;
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Setsockopt(&listenfd, SO_REUSEADDR, true)?;
/// # Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// # Listen(&listenfd, LISTENQ)?;
/// # let servaddr = Getsockname(&listenfd)?;
/// # let mut sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&mut sockfd, servaddr)?;
/// let (connfd, _) = Accept(&listenfd)?;
/// if let ForkResult::Child = Fork()? {
///     # Close(sockfd);
///     _exit(exit_status(str_echo(&connfd, echo_buf())));
/// }
/// Close(connfd);
/// Close(listenfd); // as at the parent's end
///
/// let restart = Socket(AF_INET, SOCK_STREAM, 0)?;
/// Setsockopt(&restart, SO_REUSEADDR, true)?;
/// let error = Bind(&restart, servaddr).unwrap_err();
/// assert!(format!("{error:#}").contains("Address already in use"));
///
/// Close(sockfd); // the client leaves, so the child ends
/// # wait()?;
/// Bind(&restart, servaddr)?;
/// # Ok(())
/// # }
/// ```
pub fn Close(sockfd: Sockfd) {
    let (number, before) = (sockfd.socket.as_raw_fd(), trace::before(&sockfd));
    let closed = unistd::close(OwnedFd::from(sockfd.socket)).map_err(io::Error::from);
    if let Some((when, state)) = before {
        trace::event(when, state, format!("close({number}) = {}", shown(&closed)));
        let held = sockets_held(); // before the time
        trace::event(trace::now(), None, format!("holds {held}"));
    }
    if let Err(why) = closed {
        err_ret(&Error::new(why).context("close error"));
    }
}

/// [`Close`] for a trace ([`trace_start`]), just before an exit. The exit would close the
/// socket, but a process cannot print what its own exit does. It prints each state that follows,
/// until the connection is in TIME_WAIT or gone, for one second at most.
pub fn close_and_watch(sockfd: Sockfd) {
    let (ends, local, peer) = (trace::ends(&sockfd), Getsockname(&sockfd), sockfd.peer());
    Close(sockfd);
    if let (Ok(local), Some(peer)) = (local, peer) {
        trace::watch(&ends, local, peer);
    }
}

/// _exit(2): ends a child.
///
/// The listing calls exit, which also flushes buffers that the child has as copies of its
/// parent's. `_exit` leaves that to the parent. The kernel closes the descriptors.
pub fn _exit(status: i32) -> ! {
    if trace::on() {
        trace::event(trace::now(), None, format_args!("_exit({status})"));
    }
    // SAFETY: _exit has no preconditions, and runs no code of this process.
    unsafe { libc::_exit(status) }
}

/// A signal handler that is safe to install. Its field is private, so all handlers are in this
/// file.
#[derive(Clone, Copy, Debug)]
pub struct Handler(extern "C" fn(c_int));

/// The handler of `SIGCHLD`: reaps every child that has ended, so that none stays a zombie,
/// and prints which signal has killed a child.
///
/// Several children that end together may cause only one SIGCHLD, so the handler calls waitpid
/// in a loop, as later in the book's chapter. A child inherits the handler. There it does nothing,
/// so that it does not take the status of a command that the child runs.
#[allow(non_upper_case_globals)]
pub const sig_chld: Handler = Handler(reap);

/// Whether this process, and not its parent, has installed [`sig_chld`].
static REAPS: AtomicBool = AtomicBool::new(false);

/// How many children this process has. Fork adds one, [`reap`] subtracts one. It is -1 for a
/// moment if a child ends before Fork has added it.
static CHILDREN: AtomicI64 = AtomicI64::new(0);

extern "C" fn reap(_: c_int) {
    if !REAPS.load(Ordering::Relaxed) {
        return;
    }
    let errno = Errno::last_raw();
    let mut status = 0;
    loop {
        // SAFETY: waitpid is async-signal-safe, and `status` lives through the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            break;
        }
        CHILDREN.fetch_sub(1, Ordering::Relaxed);
        let ended = ExitStatus::from_raw(status);
        if trace::on() {
            let now = SystemTime::now();
            trace::event(now, None, format_args!("waitpid(-1) = {pid}, {ended}"));
        }
        if ended.signal().is_some() {
            say(format_args!("child {pid} was killed, {ended}"));
        }
    }
    Errno::set_raw(errno);
}

/// Whether this process has as many children as it may, or more.
///
/// [`Fork`] adds a child, and [`sig_chld`], which must be installed, subtracts each one that has
/// ended, also a child that Fork did not make.
#[must_use]
pub fn is_full(max_children: u32) -> bool {
    CHILDREN.load(Ordering::Relaxed) >= i64::from(max_children)
}

/// Sleeps while this process [`is_full`]: until [`sig_chld`] reaps a child. The next clients wait
/// in the kernel's queue of complete connections (listen函数).
///
/// # Errors
/// `sigsuspend error: …`. No case is known.
pub fn wait_for_room(max_children: u32) -> Result<()> {
    let wait = || {
        // SIGCHLD is blocked between the check and the sleep. sigsuspend unblocks it and sleeps in
        // one step, so no child can end unnoticed in between.
        let before = SigSet::from(SIGCHLD).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        while is_full(max_children) {
            before.suspend()?;
        }
        before.thread_set_mask()
    };
    wait().map_err(io::Error::from).context("sigsuspend error")
}

/// sigaction(2): installs a signal handler, and unblocks the signal in case the process was
/// started with it blocked.
///
/// Unlike the book's Signal it does not set SA_RESTART: when the signal comes, a call that sleeps
/// fails with EINTR, for which the listing of str_echo has its `goto again`. Children that only
/// stop send no SIGCHLD.
///
/// # Errors
/// `sigaction error: SIGNAL: …`: the signal cannot be caught (`EINVAL`).
pub fn Signal(signal: signal::Signal, handler: Handler) -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(handler.0),
        SaFlags::SA_NOCLDSTOP,
        SigSet::empty(),
    );
    program(); // makes the name now: a signal handler must not allocate
    REAPS.store(true, Ordering::Relaxed);
    // SAFETY: sigaction is unsafe because a handler may do only what is async-signal-safe. All
    // handlers are in this file. `reap` calls waitpid, poll, write, getpid and clock_gettime, which
    // are; it formats into an array on its stack; the program's name is there already; it takes no
    // lock, and restores errno.
    unsafe { signal::sigaction(signal, &action) }
        .and_then(|_| signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&signal.into()), None))
        .map_err(io::Error::from)
        .with_context(|| format!("sigaction error: {signal}"))
}

/// Starts the trace of `--trace`, in this process and in the children that it will fork: each
/// call of the listings, and the TCP state of its socket (TCP状态转换图).
///
/// Each event is one line on standard error: the local time, the process, the state of the
/// socket, the call with its result.
///
/// ```text
/// 14:03:07.001234 tcpcli[4711]    CLOSED      connect(3, 127.0.0.1:9877) = 0
/// 14:03:07.001320 tcpcli[4711]    ESTABLISHED 3: 127.0.0.1:42532 to 127.0.0.1:9877
/// ```
///
/// The state comes from the kernel, and the socket was in it at the line's time. A call that
/// sends a segment (connect, Writen, shutdown, close) has the time at which it began, and so has
/// fork in the parent. The other calls have the time at which they returned. When a call that
/// sends has changed the state, the new state is a line of its own, with the time at which it
/// was read. So the lines of both programs and those of `tcpdump` can be sorted together, and a
/// cause stands before its effect. Messages without a time (`listening on …`) sort elsewhere.
pub fn trace_start() {
    trace::start(utc_offset);
}

/// Local time minus UTC, in seconds.
fn utc_offset() -> i64 {
    // SAFETY: both calls are given what they ask for, and localtime_r writes to a `tm` of its
    // caller's; all zeros is a `tm` (the pointer in it may be null). It reads the environment,
    // which only the unsafe set_var of another thread could change meanwhile.
    unsafe {
        let now = libc::time(ptr::null_mut());
        let mut local: libc::tm = mem::zeroed();
        libc::localtime_r(&now, &mut local);
        local.tm_gmtoff
    }
}
