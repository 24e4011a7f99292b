//! Processes and descriptors: fork, close, the exits.
//!
//! The book's `lib/wrapunix.c`; `exit` and `_exit` are C's.

use crate::error::err_ret;
use crate::signal::note_child;
use crate::sockfd::Sockfd;
use crate::tcp_state::TcpState;
use crate::trace;
use anyhow::{Context, Error, Result};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{self, ForkResult};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io, process, thread};

/// fork(2): one call, two returns (fork函数).
///
/// Parent and child share the descriptors that were open before: each process holds a
/// reference, and a connection ends when the last reference is closed (并发服务器):
///
/// ```text
///                           listenfd           connfd
///  before accept            parent             -
///  after accept             parent             parent
///  after fork               parent, child      parent, child
///  after the two closes     parent             child          its close sends the FIN
/// ```
/// The tests s7, s8 and s9 show it.
///
/// The child has only the thread that called Fork. Another thread could have held a lock,
/// which nobody would release in the child. So Fork refuses a process with a second thread. That
/// makes it safe to call: its child may do all that the parent may. (A function under `#[test]` runs in a
/// second thread.)
///
/// # Examples
///
/// A child that has ended is a zombie until its parent asks for its status, which
/// [`sig_chld`](crate::sig_chld) does.
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
/// `fork error: …`: too many processes (`EAGAIN`), no memory (`ENOMEM`), a second thread
/// (`EDEADLK`; a thread that was joined just now may still end, so Fork waits for it, 0.1 s at most). If
/// the C library cannot say that there is one thread, and /proc cannot be read, the error names /proc.
pub fn Fork() -> Result<ForkResult> {
    let before = trace::on().then(SystemTime::now);
    let forked = fork();
    if let Some(before) = before {
        let (when, result) = match &forked {
            Ok(ForkResult::Child) => (SystemTime::now(), "0".to_owned()),
            Ok(ForkResult::Parent { child }) => (before, child.to_string()),
            Err(error) => (before, format!("-1, {error:#}")),
        };
        let text = format!("fork() = {result}, {}", trace::holds());
        trace::event(when, TcpState::UNKNOWN, text);
    }
    forked.context("fork error")
}

fn fork() -> Result<ForkResult> {
    if !is_single_threaded().context("/proc/self/task, which has the number of threads")? {
        return Err(io::Error::from(Errno::EDEADLK)).context("this process has a second thread");
    }
    // SAFETY: fork is unsafe because the child of a process with several threads may do only
    // what a signal handler may. This process has one thread, which is here, so no other can
    // start a second one. Each lock that is held now is held by this thread, which lives on in
    // both processes and releases it in each. No handler of this library forks, and to install
    // another, which could interrupt malloc and fork, needs `unsafe`.
    let fork = || unsafe { unistd::fork() };
    Ok(note_child(fork).map_err(io::Error::from)?)
}

/// Whether the calling thread is the only one of its process.
fn is_single_threaded() -> io::Result<bool> {
    static FLAG: OnceLock<Option<&AtomicU8>> = OnceLock::new();
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    let find = || {
        unsafe extern "C" {
            static __libc_single_threaded: AtomicU8;
        }
        // SAFETY: glibc has this symbol since 2.32: a `char` that lives as long as the process.
        Some(unsafe { &__libc_single_threaded })
    };
    #[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
    let find = || {
        let name = c"__libc_single_threaded".as_ptr(); // in a static program dlsym finds nothing
        // SAFETY: dlsym takes a C string.
        let flag: *mut AtomicU8 = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) }.cast();
        // SAFETY: it is null, or as above.
        unsafe { flag.as_ref() }
    };
    // Looked up once: the look-up writes to a page, which would be copied at each fork.
    let flag = FLAG.get_or_init(find);
    if flag.is_some_and(|flag| flag.load(Ordering::Relaxed) != 0) {
        return Ok(true);
    }
    // glibc may not know that the other threads have ended. In /proc a directory has two links,
    // and one more for each thread in it. A joined thread stays there for a moment: try again.
    for wait in 0..15 {
        thread::sleep(Duration::from_millis(wait));
        if fs::metadata("/proc/self/task")?.nlink() == 3 {
            return Ok(true);
        }
    }
    Ok(false)
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
/// A [`Sockfd`] that goes out of scope is closed in the same way; `Close` is the listing's line, in its
/// place. Linux frees the descriptor even when close fails; the error is printed.
///
/// # Examples
///
/// Without the parent's `Close(connfd)` the client gets no FIN while connfd is in scope, and each
/// client costs the parent a descriptor:
///
/// ```
/// # use nix::{errno::Errno, sys::socket::{MsgFlags, recv}, sys::wait::wait};
/// # use std::os::fd::{AsFd, AsRawFd};
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Bind(&listenfd, "127.0.0.1:0".parse()?)?;
/// # Listen(&listenfd, LISTENQ)?;
/// # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&sockfd, Getsockname(&listenfd)?)?;
/// # let read_now = || recv(sockfd.as_fd().as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
/// let (connfd, _) = Accept(&listenfd)?;
/// if let ForkResult::Child = Fork()? {
///     Close(listenfd);
///     _exit(0); // the exit closes the child's connfd
/// }
/// # wait()?;
/// assert_eq!(read_now(), Err(Errno::EAGAIN)); // the child has ended, and no FIN has come
///
/// # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&sockfd, Getsockname(&listenfd)?)?;
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
/// # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&sockfd, servaddr)?;
/// let (connfd, _) = Accept(&listenfd)?;
/// if let ForkResult::Child = Fork()? {
///     # Close(sockfd);
///     _exit(exit_status(str_echo(&connfd)));
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
    drop(sockfd);
}

impl Drop for Sockfd {
    fn drop(&mut self) {
        if let Err(why) = trace::closes(self, || Ok(unistd::close(self.number())?)) {
            err_ret(&Error::new(why).context(format!("close error: {}", self.peer_name())));
        }
    }
}

/// exit(3): ends the process, as the client's listing does. The kernel closes all descriptors that
/// are open: the socket's close sends the FIN (正常终止, steps 2 and 3).
///
/// It is [`std::process::exit`]; under a [trace](crate::trace_start) it is printed.
pub fn exit(status: i32) -> ! {
    trace::exits(format_args!("exit({status})"));
    process::exit(status)
}

/// _exit(2): ends a child. The kernel closes all descriptors that are open: the close of connfd sends
/// the FIN (正常终止, steps 5 and 6).
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
