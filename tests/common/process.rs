//! Processes: starting them, sending signals, and reading their state from /proc.

use super::*;
use nix::libc::c_long;
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigHandler, kill};
use nix::unistd::getppid;
use procfs::ProcError;
use procfs::process::{FDInfo, FDTarget, Io, Process, Stat, Status, Syscall, all_processes};
use rlimit::{Resource, prlimit};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};

/// Starts a program that the kernel kills when the calling thread terminates.
pub fn spawn(command: &mut Command) -> Child {
    // A LISTENQ set for `cargo test` is not meant for the programs.
    if command.get_envs().all(|(name, _)| name != "LISTENQ") {
        command.env_remove("LISTENQ");
    }
    let test = Pid::this();
    let before_exec = move || {
        // Both signals may be ignored, for example if a script runs tests in the background.
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // SAFETY: SIG_DFL is not a handler function.
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != test {
            return Err(Errno::ESRCH.into()); // the test terminated first
        }
        Ok(())
    };
    // SAFETY: before exec, the child only makes system calls, and allocates nothing.
    let spawned = unsafe { command.pre_exec(before_exec) }.spawn();
    spawned.unwrap_or_else(|why| panic!("{command:?}: {why}"))
}

pub fn wait_end(process: &mut Child) -> ExitStatus {
    wait_for("the program to exit", || process.try_wait().unwrap())
}

pub fn signal(pid: Pid, signal: Signal) {
    show_process(pid, signal);
    kill(pid, signal).unwrap_or_else(|errno| panic!("{signal} to {pid}: {errno}"));
}

/// A stopped process, which continues when the value is dropped.
pub struct Stopped(Pid);

pub fn stop(pid: Pid) -> Stopped {
    signal(pid, Signal::SIGSTOP);
    let stopped = Stopped(pid);
    let what = format!("{pid} to stop");
    wait_until(what, || process_state(pid) == Some('T'));
    stopped
}

impl Stopped {
    /// Continues the process.
    pub fn go_on(self) {
        show_process(self.0, Signal::SIGCONT);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

fn stat(pid: Pid) -> Option<Stat> {
    Process::new(pid.as_raw()).ok()?.stat().ok()
}

/// Shows an event that concerns a process.
pub fn show_process(pid: Pid, what: impl Display) {
    let name = stat(pid).map_or("gone".to_owned(), |stat| stat.comm);
    show(format_args!("{name}[{pid}]: {what}"));
}

/// `S` sleeping, `R` running, `T` stopped, `Z` zombie; `None` if the process is gone.
pub fn process_state(pid: Pid) -> Option<char> {
    Some(stat(pid)?.state)
}

/// Whether a process has terminated, even if it is still a zombie.
pub fn ended(pid: Pid) -> bool {
    matches!(process_state(pid), None | Some('Z'))
}

/// Whether a process has terminated and been reaped.
pub fn gone(pid: Pid) -> bool {
    process_state(pid).is_none()
}

/// Waits until a process terminates, and returns the status that its parent's wait will report.
/// The parent must not reap the process first.
pub fn zombie_status(pid: Pid) -> i32 {
    wait_until(format_args!("{pid} to terminate"), || ended(pid));
    stat(pid).expect("it should be a zombie").exit_code.unwrap()
}

fn processes(is_meant: impl Fn(&Stat) -> bool) -> Vec<Pid> {
    let all = all_processes().unwrap().flatten();
    let stats = all.filter_map(|process| process.stat().ok());
    let meant = stats.filter(is_meant);
    meant.map(|stat| Pid::from_raw(stat.pid)).collect()
}

/// The children of a process, including zombies.
pub fn children(parent: Pid) -> Vec<Pid> {
    processes(|stat| stat.ppid == parent.as_raw())
}

/// The processes in this leader's session, except zombies.
pub fn members_of_session(leader: Pid) -> Vec<Pid> {
    processes(|stat| stat.session == leader.as_raw() && stat.state != 'Z')
}

/// The foreground process group of a process's terminal.
pub fn foreground(pid: Pid) -> Pid {
    Pid::from_raw(stat(pid).expect("the process has terminated").tpgid)
}

pub fn wait_asleep(pid: Pid) {
    let what = format!("{pid} to sleep");
    wait_until(what, || process_state(pid) == Some('S'));
}

/// Whether a process is in this system call, on a descriptor of the given kind.
fn is_in_call(pid: Pid, number: c_long, kind: &str) -> Option<bool> {
    let process = Process::new(pid.as_raw()).ok()?;
    let (is_it, fd) = match process.syscall() {
        Ok(Syscall::Blocked {
            syscall_number,
            argument_registers,
            ..
        }) => (syscall_number as c_long == number, argument_registers[0]),
        // Yama's ptrace_scope 2 and 3 hide the system call. The kernel function remains visible,
        // but is the same for read and write.
        Err(ProcError::PermissionDenied(_)) => {
            let function = match (number, kind) {
                (libc::SYS_accept4, _) => "inet_csk_accept",
                (libc::SYS_rt_sigsuspend, _) => "sigsuspend",
                (_, "pipe:") => "pipe_read",
                _ => "wait_woken",
            };
            return Some(process.wchan().ok()?.contains(function));
        }
        _ => return None,
    };
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let is_kind = || Some(link.ok()?.to_str()?.starts_with(kind));
    Some(is_it && (kind.is_empty() || is_kind()?))
}

/// Waits until a process is blocked in a system call on a descriptor of the given kind. `kind` is
/// empty for a call without a descriptor.
pub fn wait_asleep_in(number: c_long, pid: Pid, kind: &str) {
    let asleep_in = || {
        let is_it = is_in_call(pid, number, kind)?;
        (is_it && process_state(pid) == Some('S')).then_some(())
    };
    let what = format!("{pid} to block in system call {number}");
    wait_while_alive(pid, what, asleep_in);
}

pub fn wait_reading_socket(pid: Pid) {
    wait_asleep_in(libc::SYS_read, pid, "socket:");
    show_process(pid, "blocked in read on its socket");
}

pub fn wait_writing_socket(pid: Pid) {
    wait_asleep_in(libc::SYS_write, pid, "socket:");
    show_process(pid, "blocked in write on its socket");
}

/// Waits until a process is blocked in read(2) on its standard input, which is a pipe.
pub fn wait_reading_input(pid: Pid) {
    wait_asleep_in(libc::SYS_read, pid, "pipe:");
    show_process(pid, "blocked in read on its standard input");
}

pub fn wait_accepting(pid: Pid) {
    wait_asleep_in(libc::SYS_accept4, pid, "socket:");
    show_process(pid, "blocked in accept");
}

pub fn descriptors(pid: Pid) -> Vec<FDInfo> {
    let descriptors = Process::new(pid.as_raw()).and_then(|process| process.fd());
    descriptors.into_iter().flatten().flatten().collect()
}

/// The inodes of a process's sockets, except those inherited from the test.
pub fn sockets(pid: Pid) -> Vec<u64> {
    let sockets = |pid| {
        let descriptors = descriptors(pid).into_iter();
        descriptors.filter_map(|descriptor| match descriptor.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
    };
    let inherited: Vec<_> = sockets(Pid::this()).collect();
    sockets(pid)
        .filter(|inode| !inherited.contains(inode))
        .collect()
}

/// The numbers of read and write calls made, and of bytes transferred, by a process and the
/// children that it has reaped.
pub fn io(pid: Pid) -> Io {
    Process::new(pid.as_raw()).unwrap().io().unwrap()
}

pub fn status(pid: Pid) -> Status {
    Process::new(pid.as_raw()).unwrap().status().unwrap()
}

/// Sets a soft limit for a running process, capped at its hard limit, and returns the old one.
pub fn set_limit(pid: Pid, resource: Resource, soft: u64) -> u64 {
    let (mut before, mut hard) = (0, 0);
    prlimit(pid.as_raw(), resource, None, Some((&mut before, &mut hard))).unwrap();
    prlimit(pid.as_raw(), resource, Some((soft.min(hard), hard)), None).unwrap();
    before
}

/// The system calls that C libraries use to fork.
pub const FORKS: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_fork,
];

/// Makes these system calls fail in a program, like a sandbox (seccomp).
pub fn refuse(command: &mut Command, calls: &[c_long], errno: i32) {
    let statement = |code: u32, jf, k| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = vec![statement(load, 0, 0)]; // load the system call number
    for &call in calls {
        filter.push(statement(is, 1, call as u32));
        filter.push(statement(libc::BPF_RET, 0, answer));
    }
    filter.push(statement(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        let (mode, program) = (libc::SECCOMP_MODE_FILTER, &raw const program);
        set_no_new_privs()?;
        // SAFETY: `program` and the filter that it points to outlive the call.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, program) })?;
        Ok(())
    };
    // SAFETY: before exec, the child makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(install) };
}
