//! The library in a program of one's own: what Fork and the reaper do to the rest of it.
//!
//! Fork refuses a process with a second thread, so these tests run one after the other, on
//! the program's only thread.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal as Sig, raise, signal as set_handler};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{io, thread};
use unp::{
    _exit, AF_INET, Accept, Bind, Close, Connect, Fork, ForkResult, Getsockname, Listen, SIGCHLD,
    SOCK_STREAM, Signal, Socket, StdoutClosed, exit_status, is_full, sig_chld, str_echo,
};

fn main() {
    let tests = tests![
        fork_runs_the_atfork_handlers,
        fork_succeeds_at_once_after_the_last_other_thread_was_joined,
        fork_refuses_a_process_with_a_second_thread,
        fork_names_proc_where_nothing_tells_how_many_threads_there_are,
        a_child_begins_without_children,
        connect_goes_on_with_its_handshake_after_a_signal,
        a_child_gets_the_status_of_a_command_that_it_runs,
        a_child_that_ends_before_fork_returns_is_counted_off,
        forks_that_were_refused_at_the_same_time_leave_the_reaper_as_it_was,
        a_signal_that_cannot_be_caught_starts_no_counting,
        the_handler_leaves_errno_as_it_was,
        a_close_that_fails_is_reported,
        _exit_runs_no_handler_of_exit,
        the_exit_status_is_that_of_any_result,
        threads_that_echo_at_the_same_time_do_not_wait_for_each_other,
    ];
    machine::run_one_by_one(tests);
}

/// Forks a child that exits with what `run` returns, and returns that.
fn in_child(run: impl FnOnce() -> i32) -> i32 {
    match Fork().unwrap() {
        ForkResult::Child => _exit(run()),
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, status) => status,
            other => panic!("{other:?}"),
        },
    }
}

/// A random number generator reseeds itself in such a handler.
fn fork_runs_the_atfork_handlers() {
    static RAN: AtomicBool = AtomicBool::new(false);
    extern "C" fn in_the_child() {
        RAN.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler is a function of this program, and does one atomic store.
    let set = unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
    assert_eq!(set, 0);
    assert_eq!(in_child(|| RAN.load(Ordering::Relaxed).into()), 1);
    assert!(!RAN.load(Ordering::Relaxed), "not in the parent");
}

fn fork_succeeds_at_once_after_the_last_other_thread_was_joined() {
    for _ in 0..5_000 {
        std::thread::spawn(|| ()).join().unwrap();
        assert_eq!(in_child(|| 7), 7);
    }
}

fn fork_refuses_a_process_with_a_second_thread() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let second = std::thread::spawn(move || receiver.recv());
    let error = format!("{:#}", Fork().unwrap_err());
    let why = words(Errno::EDEADLK);
    assert_eq!(
        error,
        format!("fork error: this process has a second thread: {why}")
    );
    drop(sender);
    let _ = second.join().unwrap();
    assert_eq!(in_child(|| 7), 7);
}

fn fork_names_proc_where_nothing_tells_how_many_threads_there_are() {
    let named = in_child(|| {
        refuse_here(STATS, libc::ENOENT);
        // So the C library does not know either.
        let second = thread::spawn(|| thread::sleep(DEADLINE));
        let error = format!("{:#}", Fork().unwrap_err());
        drop(second);
        let why = words(Errno::ENOENT);
        (error.starts_with("fork error: /proc") && error.ends_with(&why)).into()
    });
    assert_eq!(named, 1);
}

fn a_child_begins_without_children() {
    let right = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        // Also a child with a sibling finds no child of its own, before and after its own Signal.
        for siblings in 0..2 {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            if let ForkResult::Child = Fork().unwrap() {
                drop(here);
                let inherited = is_full(1);
                Signal(SIGCHLD, sig_chld).unwrap();
                let answer = [inherited.into(), is_full(1).into()];
                let _ = there.write_all(&answer);
                let _ = there.read(&mut [0]); // until its parent ends
                _exit(0);
            }
            let mut answer = [9; 2];
            here.read_exact(&mut answer).unwrap();
            if answer != [0, 0] || !is_full(siblings + 1) || is_full(siblings + 2) {
                return 0;
            }
            std::mem::forget(here);
        }
        1
    });
    assert_eq!(right, 1);
}

fn connect_goes_on_with_its_handshake_after_a_signal() {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
    Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
    Listen(&listenfd, 0).unwrap();
    let servaddr = Getsockname(&listenfd).unwrap();
    let _first = connect(servaddr); // the queue is full
    let ForkResult::Parent { child } = Fork().unwrap() else {
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        let connected = Signal(SIGCHLD, sig_chld).and_then(|()| Connect(&sockfd, servaddr));
        _exit(exit_status(connected));
    };
    wait_asleep_in(libc::SYS_connect, child, "socket:");
    signal(child, SIGCHLD);
    Accept(&listenfd).unwrap(); // room for the child's SYN, which is sent again
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

/// The child inherits the reaper, which must not take the command's status away.
fn a_child_gets_the_status_of_a_command_that_it_runs() {
    let (mut reader, writer) = pipe();
    Signal(SIGCHLD, sig_chld).unwrap();
    let start = Instant::now();
    for _ in 0..50 {
        assert!(start.elapsed() < DEADLINE);
        let ForkResult::Child = Fork().unwrap() else {
            let mut answer = [0];
            reader.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"y", "the command's status was lost");
            continue;
        };
        let ran = (0..5).all(|_| {
            Command::new("true")
                .status()
                .is_ok_and(|status| status.success())
        });
        let _ = (&writer).write_all(if ran { b"y" } else { b"n" });
        _exit(0);
    }
    // SAFETY: SIG_DFL is no function that could do harm.
    unsafe { set_handler(Sig::SIGCHLD, SigHandler::SigDfl) }.unwrap();
    while nix::sys::wait::wait().is_ok() {}
}

fn a_child_that_ends_before_fork_returns_is_counted_off() {
    let counted = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        for _ in 0..2000 {
            if let ForkResult::Child = Fork().unwrap() {
                _exit(0);
            }
        }
        let all_ended = || children(Pid::this()).is_empty();
        wait_until("the end of all children", all_ended);
        is_full(1).into()
    });
    assert_eq!(counted, 0, "a child is counted that is gone");
}

fn forks_that_were_refused_at_the_same_time_leave_the_reaper_as_it_was() {
    let reaped = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| assert!(Fork().is_err())));
            }
        });
        let ForkResult::Parent { child } = Fork().unwrap() else {
            _exit(0);
        };
        wait_until("the child to be reaped", || gone(child));
        0
    });
    assert_eq!(reaped, 0);
}

fn a_signal_that_cannot_be_caught_starts_no_counting() {
    let full = in_child(|| {
        assert!(Signal(Sig::SIGKILL, sig_chld).is_err());
        let ForkResult::Parent { child } = Fork().unwrap() else {
            _exit(0);
        };
        waitpid(child, None).unwrap();
        is_full(1).into()
    });
    assert_eq!(full, 0);
}

fn the_handler_leaves_errno_as_it_was() {
    let errno = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        Errno::EXDEV.set();
        raise(SIGCHLD).unwrap(); // its waitpid fails: there is no child
        Errno::last_raw()
    });
    assert_eq!(errno, Errno::EXDEV as i32);
}

fn a_close_that_fails_is_reported() {
    let (mut reader, stderr) = pipe();
    let status = in_child(|| {
        dup2_stderr(&stderr).unwrap();
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        refuse_here(&[libc::SYS_close], libc::EIO);
        Close(sockfd);
        0
    });
    assert_eq!(status, 0);
    drop(stderr);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let expected = format!(": close error: not connected: {}\n", words(Errno::EIO));
    assert!(said.ends_with(&expected), "{said:?}");
}

/// Such as the one that flushes stdio's buffers.
fn _exit_runs_no_handler_of_exit() {
    extern "C" fn exit_with_7() {
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(7) }
    }
    let status = in_child(|| {
        // SAFETY: the handler is a function of this program.
        assert_eq!(unsafe { libc::atexit(exit_with_7) }, 0);
        0
    });
    assert_eq!(status, 0);
}

fn the_exit_status_is_that_of_any_result() {
    assert_eq!(in_child(|| exit_status(io::Result::Ok(()))), 0);
    assert_eq!(in_child(|| exit_status(anyhow::Ok(()))), 0);
    let closed = || exit_status(Err(anyhow::Error::msg("why").context(StdoutClosed)));
    assert_eq!(in_child(closed), 0);
}

fn threads_that_echo_at_the_same_time_do_not_wait_for_each_other() {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
    Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
    Listen(&listenfd, 8).unwrap();
    let servaddr = Getsockname(&listenfd).unwrap();
    let pairs: Vec<_> = (0..4)
        .map(|_| (connect(servaddr), Accept(&listenfd).unwrap().0))
        .collect();
    thread::scope(|scope| {
        let mut streams = Vec::new();
        for (stream, connfd) in pairs {
            scope.spawn(move || str_echo(&connfd).unwrap());
            streams.push(stream);
        }
        for _ in 0..3 {
            for stream in &mut streams {
                assert_eq!(echo(stream, b"hello\n"), b"hello\n");
            }
        }
    });
}
