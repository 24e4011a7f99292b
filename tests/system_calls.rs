//! Checks with ptrace that a connection requires only the listings' system calls, so --trace costs
//! nothing unless requested. Also checks the states before and after listen. The tests are ignored
//! if ptrace is forbidden, or without glibc on a 64-bit machine, because other C libraries make
//! different calls.

mod common;

use common::*;
use nix::libc::c_long;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::os::unix::process::CommandExt;
use std::process::Child;

fn main() {
    let tests = tests![
        the_parent_accepts_forks_closes_and_reaps,
        n3_the_client_writes_and_reads_once_for_each_line_and_only_its_exit_closes,
        at_the_limit_sigchld_is_blocked_until_sigsuspend,
        s3_a1_listen_moves_the_socket_from_closed_to_listen,
        f3_f4_f5_parent_and_child_hold_the_sockets_of_the_figure,
    ];
    machine::run(machine::trials(&allowed(), tests), 8);
}

fn allowed() -> Result<(), String> {
    if cfg!(not(all(target_env = "gnu", target_pointer_width = "64"))) {
        return Err("the C library is not glibc on a 64-bit machine".to_owned());
    }
    let mut command = Command::new("true");
    // SAFETY: the child makes only one system call before exec.
    let traced = unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) }.spawn();
    let mut traced = traced.map_err(|why| format!("ptrace: {why}"))?;
    traced.kill().unwrap();
    traced.wait().unwrap();
    Ok(())
}

/// Calls that the C library and Rust make to start and end a process, and to manage memory. In a
/// debug build, Rust also checks before each close that the descriptor is open.
const RUNTIME: &[c_long] = &[
    #[cfg(debug_assertions)]
    libc::SYS_fcntl,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_madvise,
    #[cfg(not(target_arch = "arm"))]
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// A process's system calls, in order, except those in RUNTIME.
type Calls = Vec<c_long>;

/// The calls from the first one with this number onward.
fn from(first: c_long, calls: &Calls) -> Calls {
    let first = calls.iter().position(|&number| number == first);
    calls[first.unwrap()..].to_vec()
}

/// Starts a program that this thread will trace.
fn start(command: &mut Command) -> Child {
    // SAFETY: the child makes only one system call before exec.
    spawn(unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) })
}

/// The system call that a process is entering; `None` if it is returning from one.
#[cfg(target_env = "gnu")]
fn entered(pid: Pid) -> Option<c_long> {
    let info = ptrace::syscall_info(pid).unwrap();
    // SAFETY: `op` shows that the kernel filled in `entry`.
    let number = || unsafe { info.u.entry.nr } as c_long;
    (info.op == libc::PTRACE_SYSCALL_INFO_ENTRY).then(number)
}

/// nix supports PTRACE_GET_SYSCALL_INFO only for glibc.
#[cfg(not(target_env = "gnu"))]
fn entered(_: Pid) -> Option<c_long> {
    unreachable!("the tests are ignored")
}

/// Traces a program and its children until they exit, and calls `enters` for each system call.
/// Returns the calls made by each process, starting with the program.
fn follow(program: &Child, mut enters: impl FnMut(Pid, c_long)) -> Vec<Calls> {
    let pid = Pid::from_raw(program.id() as i32);
    waitpid(pid, None).unwrap(); // the program stops at its exec
    ptrace::setoptions(
        pid,
        ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_EXITKILL,
    )
    .unwrap();
    ptrace::syscall(pid, None).unwrap();

    let mut calls = vec![(pid, Calls::new())];
    let mut alive = vec![pid];
    let start = Instant::now();
    while !alive.is_empty() {
        assert!(start.elapsed() < DEADLINE, "{alive:?} do not exit");
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
                    if let Some(number) = entered(pid) {
                        let mut its = calls.iter_mut().filter(|(whose, _)| *whose == pid);
                        let (_, its) = its.next().unwrap();
                        its.extend(Some(number).filter(|_| !RUNTIME.contains(&number)));
                        enters(pid, number);
                    }
                    None
                }
                WaitStatus::PtraceEvent(..) => {
                    let child = Pid::from_raw(ptrace::getevent(pid).unwrap() as i32);
                    calls.push((child, Calls::new()));
                    alive.push(child);
                    None
                }
                // Each new child first reports this stop.
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
    calls.into_iter().map(|(_, calls)| calls).collect()
}

/// The calls that tcpserv and its children make with these arguments while `visit` runs.
fn serve(
    args: &[&str],
    visit: impl FnOnce(Pid, SocketAddr) + Send,
    enters: impl FnMut(Pid, c_long),
) -> Vec<Calls> {
    let mut command = tcpserv("127.0.0.1", 0);
    let mut server = start(command.args(args).stderr(Stdio::null()));
    let pid = Pid::from_raw(server.id() as i32);
    let calls = thread::scope(|scope| {
        scope.spawn(move || {
            visit(pid, listening_address(pid));
            signal(pid, Signal::SIGTERM);
        });
        follow(&server, enters)
    });
    server.wait().ok(); // already reaped above
    calls
}

/// Each child closes, reads, writes, reads and exits.
fn the_parent_accepts_forks_closes_and_reaps() {
    const CLIENTS: usize = 5;
    let visit = |pid, addr| {
        for _ in 0..CLIENTS {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            wait_accepting(pid); // so SIGCHLD will interrupt accept
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(&mut stream), b"");
            wait_until("the child to be reaped", || children(pid).is_empty());
            wait_accepting(pid);
        }
    };
    let mut calls = serve(&[], visit, |_, _| ());
    let mut parent = from(libc::SYS_accept4, &calls.remove(0));
    let (read, write) = (libc::SYS_read, libc::SYS_write);
    let child = vec![libc::SYS_close, read, write, read, libc::SYS_exit_group];
    assert_eq!(calls, vec![child; CLIENTS]);

    // Some C libraries fork with clone3.
    let clone3 = parent.iter_mut().filter(|call| **call == libc::SYS_clone3);
    clone3.for_each(|call| *call = libc::SYS_clone);
    let (accept, wait) = (libc::SYS_accept4, libc::SYS_wait4);
    let expected = [
        accept,
        libc::SYS_clone,
        libc::SYS_close,
        accept, // interrupted, and restarted
        wait,   // the handler reaps the child,
        wait,   // and finds no other
        libc::SYS_rt_sigreturn,
    ];
    let mut expected = expected.repeat(CLIENTS);
    expected.push(accept);
    assert_eq!(parent, expected);
}

fn n3_the_client_writes_and_reads_once_for_each_line_and_only_its_exit_closes() {
    let server = Server::start(&[]);
    let (input, mut keyboard) = pipe();
    keyboard.write_all(b"one\ntwo\n").unwrap();
    drop(keyboard);
    let mut command = tcpcli(server.addr);
    let mut client = start(command.stdin(input).stdout(Stdio::null()));
    let calls = follow(&client, |_, _| ());
    client.wait().ok(); // already reaped above

    let calls = from(libc::SYS_connect, &calls[0]);
    let (read, write) = (libc::SYS_read, libc::SYS_write);
    let expected = [
        libc::SYS_connect,
        read,  // both lines from standard input
        write, // a line to the server
        read,  // its echo
        write, // to standard output
        write,
        read,
        write,
        read, // end of file
        libc::SYS_exit_group,
    ];
    assert_eq!(calls, expected);
}

/// sigsuspend atomically unblocks SIGCHLD and sleeps, so no child can terminate unnoticed.
fn at_the_limit_sigchld_is_blocked_until_sigsuspend() {
    let visit = |pid, addr| {
        for _ in 0..3 {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            wait_asleep_in(libc::SYS_rt_sigsuspend, pid, "");
        }
    };
    let mut blocked = Vec::new();
    serve(&["--max-clients", "1"], visit, |pid, number| {
        if number == libc::SYS_rt_sigsuspend {
            let sigchld = 1 << (Signal::SIGCHLD as u32 - 1);
            blocked.push(status(pid).sigblk & sigchld != 0);
        }
    });
    let all = !blocked.contains(&false);
    assert!(blocked.len() >= 3 && all, "{blocked:?}");
}

fn s3_a1_listen_moves_the_socket_from_closed_to_listen() {
    let mut states = Vec::new();
    let visit = |_, _| ();
    serve(&[], visit, |pid, number| {
        // Look before listen and before the next call.
        if number == libc::SYS_listen || states.len() == 1 {
            // A socket in CLOSED is not in the kernel's table.
            states.push(connection_of(pid).map_or("CLOSED", |row| row.state));
        }
    });
    show(format_args!("before and after listen: {states:?}"));
    assert_eq!(states, ["CLOSED", "LISTEN"]);
}

/// Counts the sockets that each process holds when it enters a call.
fn f3_f4_f5_parent_and_child_hold_the_sockets_of_the_figure() {
    let visit = |pid, addr| {
        let mut stream = connect(addr);
        assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
        wait_accepting(pid); // so the parent has closed connfd
    };
    let (mut parent, mut of_parent, mut of_child) = (None, Vec::new(), Vec::new());
    serve(&[], visit, |pid, number| {
        let calls = [
            libc::SYS_accept4,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_close,
        ];
        if number == libc::SYS_listen {
            parent = Some(pid);
        } else if parent == Some(pid) && calls.contains(&number) {
            of_parent.push(sockets(pid).len());
        } else if parent.is_some_and(|parent| parent != pid) && !RUNTIME.contains(&number) {
            of_child.push(sockets(pid).len());
        }
    });
    // `F3  after accept has returned   listenfd connfd   …` shows what the parent holds and, from
    // column 61 on, what the child holds.
    let text = fs::read_to_string("src/doc/figures.md").unwrap();
    let (_, figure) = text.split_once("parent              child\n").unwrap();
    let (figure, _) = figure.split_once("```").unwrap();
    let rows = figure.lines().filter(|row| row.starts_with('F'));
    let columns = rows.map(|row| row.split_at(row.len().min(61)));
    let held =
        |(parent, child): (&str, &str)| (parent.matches("fd").count(), child.matches("fd").count());
    let (parents, childs): (Vec<_>, Vec<_>) = columns.map(held).unzip();
    // The counts before accept, fork, close, and accept again.
    let is_so = of_parent.windows(4).any(|held| held == parents);
    assert!(is_so, "{of_parent:?}, not {parents:?}");
    // The counts before close and read.
    assert_eq!([&[0, 0], &of_child[..2]].concat(), childs);
}
