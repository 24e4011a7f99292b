//! Which system calls a connection costs, counted by the kernel (ptrace): no more than
//! the listings make, and none for a narration that nobody asked for.

mod common;

use common::*;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A process and the numbers of the system calls that it made, in their order.
type Calls = (Pid, Vec<i64>);

/// Starts a program that this thread will follow.
fn start(command: &mut Command) -> Child {
    let follow_me = || Ok(ptrace::traceme()?);
    // SAFETY: between fork and exec it makes one system call, no more.
    unsafe { command.pre_exec(follow_me) }.spawn().unwrap()
}

/// Follows a program and its children to their end. The first is the program itself.
fn follow(program: &Child) -> Vec<Calls> {
    let pid = Pid::from_raw(program.id() as i32);
    waitpid(pid, None).unwrap(); // its exec
    ptrace::setoptions(
        pid,
        ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_EXITKILL,
    )
    .unwrap();
    ptrace::syscall(pid, None).unwrap();

    let mut calls: Vec<Calls> = vec![(pid, Vec::new())];
    let mut alive = vec![pid];
    let start = Instant::now();
    while !alive.is_empty() {
        assert!(start.elapsed() < DEADLINE, "{alive:?} live on");
        let mut idle = true;
        for pid in alive.clone() {
            let status = waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).unwrap();
            idle &= status == WaitStatus::StillAlive;
            let deliver = match status {
                WaitStatus::StillAlive => continue,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    alive.retain(|&other| other != pid);
                    continue;
                }
                WaitStatus::PtraceSyscall(_) => {
                    let info = ptrace::syscall_info(pid).unwrap();
                    if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
                        // SAFETY: `op` says that the kernel filled in `entry`.
                        let number = unsafe { info.u.entry.nr } as i64;
                        let (_, numbers) = calls.iter_mut().find(|(of, _)| *of == pid).unwrap();
                        numbers.push(number);
                    }
                    None
                }
                WaitStatus::PtraceEvent(..) => {
                    let child = Pid::from_raw(ptrace::getevent(pid).unwrap() as i32);
                    calls.push((child, Vec::new()));
                    alive.push(child);
                    None
                }
                // How a new child begins to be followed.
                WaitStatus::Stopped(_, Signal::SIGSTOP) => None,
                WaitStatus::Stopped(_, signal) => Some(signal),
                other => panic!("{other:?}"),
            };
            ptrace::syscall(pid, deliver).unwrap();
        }
        if idle {
            thread::sleep(Duration::from_micros(100));
        }
    }
    calls
}

/// What a tcpserv with these arguments does for so many clients, one after the other.
fn serve(args: &[&str], clients: usize) -> Vec<Calls> {
    let mut command = Command::new(TCPSERV);
    command
        .args(["-p", "0", "-b", "127.0.0.1"])
        .args(args)
        .stderr(Stdio::piped());
    let mut server = start(&mut command);
    let pid = Pid::from_raw(server.id() as i32);
    let mut stderr = BufReader::new(server.stderr.take().unwrap());
    let visitors = thread::spawn(move || {
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            stderr.read_line(&mut line).unwrap();
        }
        // The narration is read, lest it stop when its pipe is full.
        let rest = thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        let addr: SocketAddr = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        for _ in 0..clients {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            wait_until("the child to be reaped", || children(pid).is_empty());
        }
        signal(pid, Signal::SIGTERM);
        rest.join().unwrap().unwrap();
    });
    let calls = follow(&server);
    visitors.join().unwrap();
    server.wait().ok(); // it was waited for above
    calls
}

#[test]
fn a_child_closes_reads_writes_reads_and_exits() {
    const CLIENTS: usize = 3;
    let calls = serve(&[], CLIENTS);
    assert_eq!(calls.len(), 1 + CLIENTS);
    for (_, numbers) in &calls[1..] {
        // The C library's own, as fork returns.
        let numbers: Vec<_> = numbers
            .iter()
            .filter(|number| ![libc::SYS_set_robust_list, libc::SYS_rseq].contains(number))
            .collect();
        let [close, read] = [&libc::SYS_close, &libc::SYS_read];
        let expected = [close, read, &libc::SYS_write, read, &libc::SYS_exit_group];
        assert_eq!(numbers, expected);
    }
}

#[test]
fn the_parent_accepts_forks_closes_and_reaps_and_nothing_else() {
    const CLIENTS: usize = 5;
    let (_, parent) = serve(&[], CLIENTS).remove(0);
    let first = parent
        .iter()
        .position(|&number| number == libc::SYS_accept4)
        .unwrap();
    let count = |number| {
        parent[first..]
            .iter()
            .filter(|&&other| other == number)
            .count()
    };
    let (closes, waits) = (count(libc::SYS_close), count(libc::SYS_wait4));
    assert_eq!(closes, CLIENTS);
    // The last one finds that there are no more.
    assert_eq!(waits, 2 * CLIENTS);
    assert_eq!(count(libc::SYS_unshare), CLIENTS, "Fork's question");
    // One that is interrupted by each child's end, one for each client, one in the end.
    let accepts = count(libc::SYS_accept4);
    assert!(accepts <= 2 * CLIENTS + 1, "{accepts}");
    let forks = count(libc::SYS_clone) + count(libc::SYS_clone3);
    assert_eq!(forks, CLIENTS);
    let returns = count(libc::SYS_rt_sigreturn);
    assert_eq!(
        closes + waits + accepts + forks + returns + CLIENTS,
        parent.len() - first
    );
}

/// What a tcpcli with these arguments does once it is connected, but for its memory.
fn ask(server: &Server, args: &[&str]) -> Vec<i64> {
    let mut command = tcpcli(server.addr);
    let (input, mut keyboard) = pipe();
    std::io::Write::write_all(&mut keyboard, b"one\ntwo\n").unwrap();
    drop(keyboard);
    command
        .args(args)
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut client = start(&mut command);
    let (_, numbers) = follow(&client).remove(0);
    client.wait().ok(); // it was waited for above
    let connected = numbers
        .iter()
        .position(|&number| number == libc::SYS_connect)
        .unwrap();
    let memory = [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap];
    let rest = numbers[connected + 1..].iter().copied();
    rest.filter(|number| !memory.contains(number)).collect()
}

#[test]
fn the_client_writes_and_reads_once_a_line_and_flushes_once() {
    let server = Server::start(&[]);
    let (read, write) = (libc::SYS_read, libc::SYS_write);
    let expected = [
        libc::SYS_ioctl,      // is standard output a terminal?
        libc::SYS_setsockopt, // how long to wait for an echo before a flush
        read,                 // both lines from standard input
        write,                // one line to the server
        read,                 // and its echo
        write,
        read,
        write,                 // both echoes to standard output
        read,                  // end of file
        libc::SYS_sigaltstack, // Rust's own, at every exit
        libc::SYS_exit_group,
    ];
    // On a machine that is busy an echo may take long, and be waited for in poll.
    let quick = || {
        let numbers = ask(&server, &[]);
        (numbers.len() <= expected.len()).then_some(numbers)
    };
    assert_eq!(wait_for("an echo in time", quick), expected);
}

#[test]
fn only_a_narration_asks_for_the_state() {
    let asks = |numbers: &[i64]| numbers.contains(&libc::SYS_getsockopt);
    let server = Server::start(&[]);
    assert!(!asks(&ask(&server, &[])));
    assert!(asks(&ask(&server, &["--trace"])));
    let all_ask = |calls: Vec<Calls>| calls.iter().all(|(_, numbers)| asks(numbers));
    let none_asks = |calls: Vec<Calls>| !calls.iter().any(|(_, numbers)| asks(numbers));
    assert!(none_asks(serve(&[], 1)));
    assert!(all_ask(serve(&["--trace"], 1)));
}
