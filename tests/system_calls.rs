//! Which system calls a connection costs, counted by the kernel (ptrace): those of the
//! listings, and none for a trace that was not asked for. And the states before and after
//! listen. Ignored where ptrace is forbidden, and where the C library makes other calls than glibc on 64-bit machines.

mod common;

use common::*;
use nix::libc::{self, c_long};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let tests = tests![
        a_child_closes_reads_writes_reads_and_exits,
        the_parent_accepts_forks_closes_and_reaps,
        the_client_writes_and_reads_once_for_each_line,
        only_with_trace_the_state_of_a_connection_is_asked_for,
        a_signal_does_not_make_the_server_wait_for_a_full_standard_error,
        at_the_limit_no_end_of_a_child_is_missed_before_the_sleep,
        s3_a1_listen_moves_the_socket_from_closed_to_listen,
        f3_f4_f5_parent_and_child_hold_the_sockets_of_the_picture,
    ];
    machine::run(ignored(), tests);
}

fn ignored() -> Option<String> {
    if cfg!(not(all(target_env = "gnu", target_pointer_width = "64"))) {
        return Some("the C library is not glibc on a 64-bit machine".to_owned());
    }
    let mut command = Command::new("true");
    // SAFETY: between fork and exec it makes one system call, no more.
    match unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) }.spawn() {
        Err(why) => Some(format!("ptrace: {why}")),
        Ok(mut traced) => {
            traced.kill().unwrap();
            traced.wait().unwrap();
            None
        }
    }
}

/// What the C library and Rust do at the start and end of a process, and for memory. And before a close, Rust
/// without optimisation asks whether the descriptor is open.
const RUNTIME: &[c_long] = &[
    #[cfg(debug_assertions)]
    libc::SYS_fcntl,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_madvise,
    MMAP,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

#[cfg(not(target_arch = "arm"))]
const MMAP: c_long = libc::SYS_mmap;
#[cfg(target_arch = "arm")]
const MMAP: c_long = libc::SYS_mmap2;

/// A process and the numbers of the system calls that it made, in their order.
struct Calls {
    pid: Pid,
    numbers: Vec<c_long>,
}

/// The calls of the program itself.
fn own(numbers: &[c_long]) -> Vec<c_long> {
    let own = numbers.iter().filter(|number| !RUNTIME.contains(number));
    own.copied().collect()
}

/// The calls of the program itself, from the first with this number on.
fn own_from(first: c_long, numbers: &[c_long]) -> Vec<c_long> {
    let first = numbers.iter().position(|&number| number == first);
    own(&numbers[first.unwrap()..])
}

/// Starts a program that this thread will follow.
fn start(command: &mut Command) -> Child {
    // SAFETY: between fork and exec it makes one system call, no more.
    spawn(unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) })
}

/// The system call that a process enters; `None` when it returns from one.
#[cfg(target_env = "gnu")]
fn entered(pid: Pid) -> Option<c_long> {
    let info = ptrace::syscall_info(pid).unwrap();
    // SAFETY: `op` says that the kernel filled in `entry`.
    let number = || unsafe { info.u.entry.nr } as c_long;
    (info.op == libc::PTRACE_SYSCALL_INFO_ENTRY).then(number)
}

/// nix has PTRACE_GET_SYSCALL_INFO for glibc only.
#[cfg(not(target_env = "gnu"))]
fn entered(_: Pid) -> Option<c_long> {
    unreachable!("the tests are ignored")
}

/// Follows a program and its children to their end. The first is the program itself.
fn follow(program: &Child) -> Vec<Calls> {
    follow_with(program, |_, _| ())
}

/// Likewise, and does something when a process enters a system call.
fn follow_with(program: &Child, mut enters: impl FnMut(Pid, c_long)) -> Vec<Calls> {
    let pid = Pid::from_raw(program.id() as i32);
    waitpid(pid, None).unwrap(); // its exec has stopped it
    ptrace::setoptions(
        pid,
        ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_EXITKILL,
    )
    .unwrap();
    ptrace::syscall(pid, None).unwrap();

    let calls_of = |pid| Calls {
        pid,
        numbers: Vec::new(),
    };
    let mut calls = vec![calls_of(pid)];
    let mut alive = vec![pid];
    let start = Instant::now();
    while !alive.is_empty() {
        assert!(start.elapsed() < DEADLINE, "{alive:?} do not end");
        let mut nothing = true;
        for pid in alive.clone() {
            let status = waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).unwrap();
            nothing &= status == WaitStatus::StillAlive;
            let deliver = match status {
                WaitStatus::StillAlive => continue,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    alive.retain(|&other| other != pid);
                    continue;
                }
                WaitStatus::PtraceSyscall(_) => {
                    let its = calls.iter_mut().find(|calls| calls.pid == pid);
                    if let Some(number) = entered(pid) {
                        its.unwrap().numbers.push(number);
                        enters(pid, number);
                    }
                    None
                }
                WaitStatus::PtraceEvent(..) => {
                    let child = Pid::from_raw(ptrace::getevent(pid).unwrap() as i32);
                    calls.push(calls_of(child));
                    alive.push(child);
                    None
                }
                // So begins a new child.
                WaitStatus::Stopped(_, Signal::SIGSTOP) => None,
                WaitStatus::Stopped(_, signal) => Some(signal),
                other => panic!("{other:?}"),
            };
            ptrace::syscall(pid, deliver).unwrap();
        }
        if nothing {
            thread::sleep(Duration::from_micros(100));
        }
    }
    calls
}

/// Ends a server when it is dropped, also when a client's assertion fails.
struct EndServer(Pid);

impl Drop for EndServer {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGTERM);
    }
}

/// The calls of a tcpserv with these arguments, and of its children, for so many clients,
/// one after the other.
fn serve(args: &[&str], clients: usize) -> Vec<Calls> {
    let mut command = tcpserv("127.0.0.1", 0);
    let mut server = start(command.args(args).stderr(Stdio::piped()));
    let pid = Pid::from_raw(server.id() as i32);
    let mut stderr = BufReader::new(server.stderr.take().unwrap());
    let visitors = thread::spawn(move || {
        let end = EndServer(pid);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        // The trace is read, or the server would block on a full pipe.
        let rest = thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        let addr: SocketAddr = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        for _ in 0..clients {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            wait_until("the child to be reaped", || children(pid).is_empty());
        }
        wait_accepting(pid); // so the handler has returned
        drop(end);
        join("the end of the trace", rest).unwrap();
    });
    let calls = follow(&server);
    join("the last client", visitors);
    server.wait().ok(); // it was waited for above
    calls
}

fn a_child_closes_reads_writes_reads_and_exits() {
    const CLIENTS: usize = 3;
    let calls = serve(&[], CLIENTS);
    assert_eq!(calls.len(), 1 + CLIENTS);
    for child in &calls[1..] {
        let expected = [
            libc::SYS_close,
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_read,
            libc::SYS_exit_group,
        ];
        assert_eq!(own(&child.numbers), expected);
    }
}

fn the_parent_accepts_forks_closes_and_reaps() {
    const CLIENTS: usize = 5;
    let parent = serve(&[], CLIENTS).remove(0);
    let calls = own_from(libc::SYS_accept4, &parent.numbers);

    // Fork is clone; some C libraries try clone3 first.
    let fork = |number| match number {
        libc::SYS_clone3 => libc::SYS_clone,
        other => other,
    };
    let mut calls: Vec<_> = calls.into_iter().map(fork).collect();

    // The handler: is this the parent? Then a wait for the child, and one that finds no more. Where it
    // interrupts accept, that is called again; nothing else is called twice.
    let (accept, wait, returns) = (libc::SYS_accept4, libc::SYS_wait4, libc::SYS_rt_sigreturn);
    for _ in 0..CLIENTS {
        let handler = [libc::SYS_getpid, wait, wait, returns];
        let place = calls.windows(4).position(|calls| calls == handler);
        let place = place.expect("a handler for each child");
        calls.drain(place..place + 4);
        if calls[place - 1..].starts_with(&[accept, accept]) {
            calls.remove(place);
        }
    }
    let mut expected = [accept, libc::SYS_clone, libc::SYS_close].repeat(CLIENTS);
    expected.push(accept);
    assert_eq!(calls, expected);
}

/// The calls of a tcpcli with these arguments and two lines of input.
fn two_lines(server: &Server, args: &[&str]) -> Calls {
    let (input, mut keyboard) = pipe();
    keyboard.write_all(b"one\ntwo\n").unwrap();
    drop(keyboard);
    let mut command = tcpcli(server.addr);
    command.args(args).stdin(input);
    let mut client = start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let calls = follow(&client).remove(0);
    client.wait().ok(); // it was waited for above
    calls
}

fn the_client_writes_and_reads_once_for_each_line() {
    let server = Server::start(&[]);
    let mut calls = own_from(libc::SYS_connect, &two_lines(&server, &[]).numbers);
    calls.retain(|&number| number != libc::SYS_ioctl); // is standard output a terminal?
    let (read, write) = (libc::SYS_read, libc::SYS_write);
    let expected = [
        libc::SYS_connect,
        read,  // both lines from standard input
        write, // one line to the server
        read,  // and its echo
        write,
        read,
        write, // both echoes to standard output
        read,  // end of file
        libc::SYS_exit_group,
    ];
    assert_eq!(calls, expected);
}

fn only_with_trace_the_state_of_a_connection_is_asked_for() {
    let asks = |calls: &Calls| calls.numbers.contains(&libc::SYS_getsockopt);
    let server = Server::start(&[]);
    assert!(!asks(&two_lines(&server, &[])));
    assert!(asks(&two_lines(&server, &["--trace"])));
    assert!(!serve(&[], 1).iter().any(asks));
    assert!(serve(&["--trace"], 1).iter().all(asks));
}

/// The signal interrupts the call that asks whether standard error is full. That is no "no".
fn a_signal_does_not_make_the_server_wait_for_a_full_standard_error() {
    let (stderr, other_end) = UnixStream::pair().unwrap();
    let mut command = tcpserv("127.0.0.1", 0);
    refuse(&mut command, FORKS, libc::EAGAIN); // so the parent has a message for each client
    let mut server = start(command.stderr(OwnedFd::from(stderr.try_clone().unwrap())));
    let pid = Pid::from_raw(server.id() as i32);
    let visitors = thread::spawn(move || {
        let end = EndServer(pid);
        let addr = listening_address(pid);
        while send(stderr.as_raw_fd(), b"x", MsgFlags::MSG_DONTWAIT).is_ok() {}
        for _ in 0..3 {
            assert_eq!(rest(&mut connect(addr)), b"");
        }
        drop((end, other_end));
    });
    let mut polls = 0;
    follow_with(&server, |pid, number| {
        if POLLS.contains(&number) {
            polls += 1;
            if polls % 2 == 1 {
                kill(pid, Signal::SIGCHLD).unwrap(); // and not when it asks again
            }
        }
    });
    join("the last client", visitors);
    server.wait().ok(); // it was waited for above
    assert!(polls >= 6, "{polls}");
}

const POLLS: &[c_long] = &[
    libc::SYS_ppoll,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_poll,
];

/// SIGCHLD is blocked until sigsuspend, which unblocks it and sleeps in one step.
fn at_the_limit_no_end_of_a_child_is_missed_before_the_sleep() {
    let mut command = tcpserv("127.0.0.1", 0);
    let mut server = start(command.args(["--max-clients", "1"]).stderr(Stdio::null()));
    let (says, sleeps) = channel();
    let pid = Pid::from_raw(server.id() as i32);
    let visitors = thread::spawn(move || {
        let end = EndServer(pid);
        let addr = listening_address(pid);
        for _ in 0..3 {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            sleeps.recv_timeout(DEADLINE).unwrap();
        }
        drop(end);
    });
    let mut blocked = Vec::new();
    follow_with(&server, |pid, number| {
        if number == libc::SYS_rt_sigsuspend {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
            let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
            blocked.push(mask & (1 << (Signal::SIGCHLD as u32 - 1)) != 0);
            let _ = says.send(()); // fails after the last client
        }
    });
    join("the last client", visitors);
    server.wait().ok(); // it was waited for above
    assert!(
        blocked.len() >= 3 && blocked.iter().all(|&is| is),
        "{blocked:?}"
    );
}

fn s3_a1_listen_moves_the_socket_from_closed_to_listen() {
    let mut server = start(tcpserv("127.0.0.1", 0).stderr(Stdio::null()));
    let (mut before, mut after) = (None, None);
    follow_with(&server, |pid, number| {
        // In CLOSED a socket is not in the kernel's table.
        let state = connection_of(pid).map_or("CLOSED", |row| row.state);
        if number == libc::SYS_listen {
            before = Some(state);
        } else if before.is_some() && after.is_none() {
            after = Some(state);
            kill(pid, Signal::SIGTERM).unwrap();
        }
    });
    server.wait().ok(); // it was waited for above
    assert_eq!((before, after), (Some("CLOSED"), Some("LISTEN")));
}

/// How many sockets each process holds when it enters its next call.
fn f3_f4_f5_parent_and_child_hold_the_sockets_of_the_picture() {
    let server = start(tcpserv("127.0.0.1", 0).stderr(Stdio::null()));
    let parent = Pid::from_raw(server.id() as i32);
    let visitor = thread::spawn(move || {
        let end = EndServer(parent);
        let mut stream = connect(listening_address(parent));
        assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
        drop(end);
    });
    let (mut of_parent, mut of_child) = (Vec::new(), Vec::new());
    follow_with(&server, |pid, number| {
        let held = if pid == parent {
            &mut of_parent
        } else {
            &mut of_child
        };
        let calls = [
            libc::SYS_accept4,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_close,
        ];
        if calls.contains(&number) || number == libc::SYS_read && pid != parent {
            held.push(sockets(pid).len());
        }
    });
    join("the client", visitor);
    let text = fs::read_to_string("src/doc/pictures.md").unwrap();
    let (_, picture) = text.split_once("parent              child\n").unwrap();
    let rows: Vec<_> = picture.lines().take(4).collect();
    // What stands in the parent's column, and in the child's.
    let drawn = |row: &str, from: usize, to: usize| {
        let column = row.get(from..to.min(row.len())).unwrap_or_default();
        column.split_whitespace().count()
    };
    let column = |from, to| rows.iter().map(move |row| drawn(row, from, to));
    let parents: Vec<_> = column(41, 61).collect();
    let childs: Vec<_> = column(61, 99).collect();
    // The parent: before accept, before fork, before its close, and in the next accept.
    assert!(
        of_parent.windows(4).any(|held| held == parents),
        "{of_parent:?} {parents:?}"
    );
    // The child: before its close, and in read.
    assert_eq!(of_child[..2], childs[2..], "{of_child:?}");
    assert_eq!(childs[..2], [0, 0]);
}
