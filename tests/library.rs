//! The library in your own program: Fork, Signal and the limit on children.
//!
//! Fork requires a single-threaded process, so these tests run one at a time on the main thread.

mod common;
use common::*;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, raise};
use nix::sys::wait::waitpid;
use nix::unistd::dup2_stderr;
use std::fs::File;
use unp::{
    _exit, AF_INET, Accept, Bind, Connect, Fork, ForkResult, Getsockname, Listen, SIGCHLD,
    SOCK_STREAM, ServerTerminated, Signal, Socket, Sockfd, sig_chld, str_cli, str_cli_batch,
    trace_start, wait_for_room,
};

#[allow(dead_code)] // main
mod own_server {
    include!("../src/doc/own_server.rs");

    pub fn serve(servaddr: SocketAddr) -> i32 {
        concurrent_server(servaddr).map_or(1, |()| 0)
    }
}

fn main() {
    let tests = tests![
        p1_a_concurrent_server_serves_with_any_function_and_restarts_in_time_wait,
        a_child_of_fork_has_no_children_to_wait_for,
        wait_for_room_returns_even_if_the_caller_has_blocked_sigchld,
        an_interrupted_connect_can_be_called_again,
        server_terminated_can_be_distinguished_from_other_errors,
        exit_does_not_close_a_descriptor_that_now_belongs_to_another_file,
        the_count_of_children_does_not_go_below_0,
        sig_chld_is_refused_for_any_other_signal,
        a_child_gets_the_status_of_a_command_that_it_runs,
        the_handler_preserves_errno,
        _exit_runs_no_exit_handlers,
    ];
    let mut trials = machine::trials(&Ok(()), tests);
    let in_pid_namespaces = tests![a_grandchild_with_the_parents_pid_has_no_children_to_wait_for];
    trials.extend(machine::trials(&pid_namespaces(), in_pid_namespaces));
    machine::run(trials, 1);
}

/// Forks a child that exits with the result of `run`.
fn fork_child(run: impl FnOnce() -> i32) -> Pid {
    // SAFETY: this process is single-threaded.
    match unsafe { Fork() }.unwrap() {
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL).unwrap(); // the child may block forever
            _exit(run())
        }
        ForkResult::Parent { child } => child,
    }
}

/// Forks a child, which must exit before the deadline, and returns its exit status.
fn in_child(run: impl FnOnce() -> i32) -> i32 {
    let child = fork_child(run);
    let status = zombie_status(child);
    waitpid(child, None).unwrap();
    assert_eq!(status & 0x7f, 0, "killed by a signal");
    status >> 8
}

fn p1_a_concurrent_server_serves_with_any_function_and_restarts_in_time_wait() {
    let mut servaddr = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..2 {
        let server = fork_child(|| own_server::serve(servaddr));
        servaddr = listening_address(server);
        let mut stream = connect(servaddr);
        stream.write_all(b"hello\nhello, world\n").unwrap();
        assert_eq!(read_bytes(&mut stream, 5), b"6\n13\n");
        let client = stream.local_addr().unwrap();
        signal(children(server)[0], Signal::SIGKILL); // for an active close by the server
        assert_eq!(rest(&mut stream), b"");
        wait_state(servaddr, client, "FIN_WAIT_2"); // a later ACK could end TIME_WAIT (RFC 1337)
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
            wait_for_room(1); // would block forever if it waited for the parent's children
            Signal(SIGCHLD, sig_chld).unwrap();
            wait_for_room(1);
            0
        });
        wait_for_room(1); // until the child is reaped
        gone(child).into()
    });
    assert_eq!(status, 1);
}

fn new_pid_namespace() -> nix::Result<()> {
    let pids = CloneFlags::CLONE_NEWPID;
    unshare(pids).or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | pids))
}

fn pid_namespaces() -> Result<(), String> {
    // Call unshare in a child: the caller's next child becomes process 1 in the namespace.
    match in_child(|| new_pid_namespace().map_or_else(|why| why as i32, |()| 0)) {
        0 => Ok(()),
        errno => Err(format!(
            "unshare cannot create a pid namespace: {}",
            Errno::from_raw(errno)
        )),
    }
}

/// The parent and the grandchild are each process 1 in their own namespace.
fn a_grandchild_with_the_parents_pid_has_no_children_to_wait_for() {
    let process_1 = |run: &dyn Fn() -> i32| {
        new_pid_namespace().unwrap();
        let child = fork_child(|| {
            assert_eq!(Pid::this(), Pid::from_raw(1));
            run()
        });
        let _ = waitpid(child, None); // the handler may reap the grandchild first
    };
    let (mut reader, writer) = pipe();
    in_child(|| {
        process_1(&|| {
            Signal(SIGCHLD, sig_chld).unwrap();
            process_1(&|| {
                wait_for_room(1); // must not block forever
                (&writer).write_all(b"returned").unwrap();
                0
            });
            0
        });
        0
    });
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "returned");
}

fn wait_for_room_returns_even_if_the_caller_has_blocked_sigchld() {
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        SigSet::from(SIGCHLD).thread_block().unwrap();
        let child = fork_child(|| 0);
        wait_for_room(1); // until the child is reaped
        gone(child).into()
    });
    assert_eq!(status, 1);
}

/// Forks a child, and returns its standard error output and exit status.
fn in_child_with_stderr(run: impl FnOnce() -> i32) -> (String, i32) {
    let (mut reader, writer) = pipe();
    let status = in_child(|| {
        dup2_stderr(&writer).unwrap();
        run()
    });
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (said, status)
}

fn an_interrupted_connect_can_be_called_again() {
    let (said, status) = in_child_with_stderr(|| {
        trace_start();
        Signal(SIGCHLD, sig_chld).unwrap();
        let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
        Listen(&listenfd, 0).unwrap(); // one connection fills the queue
        let servaddr = Getsockname(&listenfd).unwrap();
        let _first = connect(servaddr);
        let this = Pid::this();
        fork_child(|| {
            wait_asleep_in(libc::SYS_connect, this, "socket:");
            0 // the resulting SIGCHLD interrupts connect
        });
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        let error = Connect(&sockfd, servaddr).unwrap_err();
        let why = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(why.raw_os_error(), Some(Errno::EINTR as i32));
        Accept(&listenfd).unwrap();
        Connect(&sockfd, servaddr).unwrap(); // succeeds when the SYN is retransmitted
        7
    });
    let interrupted = reason(Errno::EINTR);
    assert!(said.contains(&format!(") = -1, {interrupted}\n")), "{said}");
    assert_eq!(status, 7);
}

fn server_terminated_can_be_distinguished_from_other_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for str_cli in [str_cli as fn(File, &Sockfd, File) -> _, str_cli_batch] {
        let sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        Connect(&sockfd, listener.local_addr().unwrap()).unwrap();
        accept(&listener).shutdown(Shutdown::Write).unwrap();
        let (input, mut keyboard) = pipe();
        keyboard.write_all(b"hello\n").unwrap();
        let error: anyhow::Error = str_cli(input, &sockfd, memory_file()).unwrap_err();
        assert!(error.is::<ServerTerminated>(), "{error}");
    }
}

/// Safe code can replace the socket in a Sockfd.
fn exit_does_not_close_a_descriptor_that_now_belongs_to_another_file() {
    let (said, _) = in_child_with_stderr(|| {
        trace_start();
        let mut sockfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
        sockfd.0 = socket2::Socket::new(AF_INET, SOCK_STREAM, None).unwrap();
        std::mem::forget(memory_file()); // the file gets the first socket's descriptor
        0
    });
    assert!(said.ends_with("_exit(0), holds no socket\n"), "{said}");
}

fn the_count_of_children_does_not_go_below_0() {
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        let not_of_fork = Pid::from_raw(spawn(&mut Command::new("true")).id() as i32);
        wait_until("the handler to reap the process", || gone(not_of_fork));
        wait_for_room(1); // must not block forever
        7
    });
    assert_eq!(status, 7);
}

fn sig_chld_is_refused_for_any_other_signal() {
    let status = in_child(|| {
        let error = Signal(Signal::SIGUSR1, sig_chld).unwrap_err().to_string();
        assert_eq!(error, "sigaction error: SIGUSR1: only SIGCHLD is supported");
        let child = fork_child(|| 0);
        wait_for_room(1); // returns at once: without a handler, children are not counted
        waitpid(child, None).unwrap();
        7
    });
    assert_eq!(status, 7);
}

/// The child inherits the handler, which must not reap the command.
fn a_child_gets_the_status_of_a_command_that_it_runs() {
    let (mut reader, mut writer) = pipe();
    let status = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        fork_child(|| {
            let mut command = spawn(&mut Command::new("true"));
            let pid = Pid::from_raw(command.id() as i32);
            wait_until("the command to exit", || ended(pid));
            let ran = command.wait().is_ok();
            writer.write_all(&[ran.into()]).unwrap(); // the handler gets this child's exit status
            0
        });
        let mut ran = [0];
        reader.read_exact(&mut ran).unwrap();
        ran[0].into()
    });
    assert_eq!(status, 1);
}

fn the_handler_preserves_errno() {
    let errno = in_child(|| {
        Signal(SIGCHLD, sig_chld).unwrap();
        Errno::EXDEV.set();
        raise(SIGCHLD).unwrap(); // without a child, the handler's waitpid fails
        Errno::last_raw()
    });
    assert_eq!(errno, Errno::EXDEV as i32);
}

/// For example, an exit handler flushes stdio's buffers.
fn _exit_runs_no_exit_handlers() {
    extern "C" fn exit_with_7() {
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(7) }
    }
    let status = in_child(|| {
        // SAFETY: the handler is a function in this program.
        assert_eq!(unsafe { libc::atexit(exit_with_7) }, 0);
        0
    });
    assert_eq!(status, 0);
}
