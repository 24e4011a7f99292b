//! The library in a program of one's own: Fork, Signal and the limit of children.
//!
//! Fork wants a process with one thread, so these tests run one after the other, on the program's only one.

mod common;
use common::*;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::raise;
use nix::sys::wait::waitpid;
use unp::{_exit, Fork, ForkResult, SIGCHLD, Signal, sig_chld, wait_for_room};

#[allow(dead_code)] // its main
mod own_server {
    include!("../src/doc/own_server.rs");

    pub fn serve(servaddr: SocketAddr) -> i32 {
        concurrent_server(servaddr).map_or(1, |()| 0)
    }
}

fn main() {
    let tests = tests![
        p1_a_concurrent_server_serves_with_any_function_and_starts_again_in_time_wait,
        a_child_of_fork_has_no_children_to_wait_for,
        the_count_of_children_does_not_go_below_0,
        sig_chld_is_refused_for_another_signal,
        a_child_gets_the_status_of_a_command_that_it_runs,
        the_handler_leaves_errno_as_it_was,
        _exit_runs_no_handler_of_exit,
    ];
    machine::run(machine::trials(&Ok(()), tests), 1);
}

/// Forks a child that exits with what `run` returns.
fn fork_child(run: impl FnOnce() -> i32) -> Pid {
    // SAFETY: this process has one thread.
    match unsafe { Fork() }.unwrap() {
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL).unwrap(); // it may sleep for ever
            _exit(run())
        }
        ForkResult::Parent { child } => child,
    }
}

/// Likewise, and returns its exit status. It must end before the deadline.
fn in_child(run: impl FnOnce() -> i32) -> i32 {
    let child = fork_child(run);
    let status = zombie_status(child);
    waitpid(child, None).unwrap();
    assert_eq!(status & 0x7f, 0, "a signal");
    status >> 8
}

fn p1_a_concurrent_server_serves_with_any_function_and_starts_again_in_time_wait() {
    let mut servaddr = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..2 {
        let server = fork_child(|| own_server::serve(servaddr));
        servaddr = listening_address(server);
        let mut stream = connect(servaddr);
        stream.write_all(b"hello\nhello, world\n").unwrap();
        assert_eq!(read_bytes(&mut stream, 5), b"6\n13\n");
        let client = stream.local_addr().unwrap();
        signal(children(server)[0], Signal::SIGKILL); // so the server's end closes first
        assert_eq!(rest(&mut stream), b"");
        drop(stream);
        wait_state(servaddr, client, "TIME_WAIT");
        signal(server, Signal::SIGKILL);
        waitpid(server, None).unwrap();
    }
}

fn a_child_of_fork_has_no_children_to_wait_for() {
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        let child = fork_child(|| {
            wait_for_room(1); // it would sleep for ever: nobody counts its parent's children off
            Signal(SIGCHLD, sig_chld).unwrap();
            wait_for_room(1);
            0
        });
        wait_for_room(1); // until the child is reaped
        gone(child).into()
    });
    assert_eq!(status, 1);
}

fn the_count_of_children_does_not_go_below_0() {
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        let not_of_fork = Pid::from_raw(spawn(&mut Command::new("true")).id() as i32);
        wait_until("the handler to reap it", || gone(not_of_fork));
        wait_for_room(1); // it would sleep for ever
        7
    });
    assert_eq!(status, 7);
}

fn sig_chld_is_refused_for_another_signal() {
    let status = in_child(|| {
        let error = Signal(Signal::SIGUSR1, sig_chld).unwrap_err().to_string();
        assert_eq!(error, "sigaction error: SIGUSR1: not SIGCHLD");
        let child = fork_child(|| 0);
        wait_for_room(1); // nobody counts children off, so it does not wait
        waitpid(child, None).unwrap();
        7
    });
    assert_eq!(status, 7);
}

/// The child inherits the handler, which must not take the command's status away.
fn a_child_gets_the_status_of_a_command_that_it_runs() {
    let (mut reader, mut writer) = pipe();
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        fork_child(|| {
            let mut command = spawn(&mut Command::new("true"));
            let pid = Pid::from_raw(command.id() as i32);
            wait_until("its end", || ended(pid));
            let ran = command.wait().is_ok();
            writer.write_all(&[ran.into()]).unwrap(); // the handler takes its own status
            0
        });
        let mut ran = [0];
        reader.read_exact(&mut ran).unwrap();
        ran[0].into()
    });
    assert_eq!(status, 1);
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
