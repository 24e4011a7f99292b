//! Processes: how the tests start them, signals, and what /proc says of them.

use super::{wait_for, wait_until, wait_while_alive};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::{Pid, getppid};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

/// Starts a program, which the kernel kills when the thread that calls this ends.
pub fn spawn(command: &mut Command) -> Child {
    // What the shell that runs the tests has in its environment is not meant for them.
    if command.get_envs().all(|(name, _)| name != "LISTENQ") {
        command.env_remove("LISTENQ");
    }
    let test = Pid::this();
    let before_exec = move || {
        // A script that runs the tests in the background has both ignored.
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // SAFETY: SIG_DFL is no function that could do harm.
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != test {
            return Err(Errno::ESRCH.into()); // the test ended before that
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
    let spawned = unsafe { command.pre_exec(before_exec) }.spawn();
    spawned.unwrap_or_else(|why| panic!("{command:?}: {why}"))
}

/// Waits for a program's end.
pub fn wait_end(process: &mut Child) -> ExitStatus {
    wait_for("the program's end", || process.try_wait().unwrap())
}

pub fn signal(pid: Pid, signal: Signal) {
    kill(pid, signal).unwrap_or_else(|errno| panic!("{signal} to {pid}: {errno}"));
}

/// A stopped process. When this is dropped, it continues.
pub struct Stopped(Pid);

pub fn stop(pid: Pid) -> Stopped {
    signal(pid, Signal::SIGSTOP);
    let stopped = Stopped(pid);
    let look = || (process_state(pid) == Some('T')).then_some(());
    wait_while_alive(pid, format_args!("{pid} to stop"), look);
    stopped
}

impl Stopped {
    /// Lets it continue.
    pub fn go_on(self) {}
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// The fields of /proc/PID/stat from the third one, the state, on.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second is the program's name in brackets, which may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// `S` asleep, `R` running, `T` stopped, `Z` zombie; `None` when it is gone.
pub fn process_state(pid: Pid) -> Option<char> {
    stat(pid)?[0].chars().next()
}

/// Whether a process has ended; as a zombie it is not yet gone.
pub fn ended(pid: Pid) -> bool {
    matches!(process_state(pid), None | Some('Z'))
}

/// Whether a process has ended, and its parent has waited for it.
pub fn gone(pid: Pid) -> bool {
    process_state(pid).is_none()
}

/// Waits until a process has ended, and returns its status as its parent's wait will see
/// it. The parent must not have waited for it.
pub fn zombie_status(pid: Pid) -> i32 {
    wait_until(format_args!("the end of {pid}"), || ended(pid));
    let stat = stat(pid).expect("it is a zombie");
    stat.last().unwrap().parse().unwrap()
}

/// The children of a process, zombies too.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.to_string();
    let is_child = |pid: &Pid| stat(*pid).is_some_and(|stat| stat[1] == parent);
    processes().filter(is_child).collect()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw)
}

/// The processes of a session, which has its leader's number, but for zombies.
pub fn members_of_session(leader: Pid) -> Vec<Pid> {
    let leader = leader.to_string();
    let is_in_it = |pid: &Pid| stat(*pid).is_some_and(|stat| stat[3] == leader && stat[0] != "Z");
    processes().filter(is_in_it).collect()
}

/// The process group that reads the terminal of a process.
pub fn foreground(pid: Pid) -> Pid {
    let stat = stat(pid).expect("the process has ended");
    Pid::from_raw(stat[5].parse().unwrap())
}

/// Waits until a process sleeps.
pub fn wait_asleep(pid: Pid) {
    let asleep = || (process_state(pid) == Some('S')).then_some(());
    wait_while_alive(pid, format_args!("{pid} to sleep"), asleep);
}

/// Whether a process is in this system call, on a descriptor of the given kind.
fn is_in_call(pid: Pid, number: c_long, kind: &str) -> Option<bool> {
    let syscall = match fs::read_to_string(format!("/proc/{pid}/syscall")) {
        // Nobody may see that (Yama's ptrace_scope 2 and 3), but the kernel's function. It does
        // not tell a write from a read.
        Err(why) if why.kind() == ErrorKind::PermissionDenied => {
            let function = match (number, kind) {
                (libc::SYS_accept4, _) => "inet_csk_accept",
                (libc::SYS_rt_sigsuspend, _) => "sigsuspend",
                (_, "pipe:") => "pipe_read",
                _ => "wait_woken",
            };
            let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).ok()?;
            return Some(wchan.contains(function));
        }
        syscall => syscall.ok()?,
    };
    let mut fields = syscall.split_whitespace();
    let is_it = fields.next()?.parse() == Ok(number);
    let fd = u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let is_kind = || Some(link.ok()?.to_str()?.starts_with(kind));
    Some(is_it && (kind.is_empty() || is_kind()?))
}

/// Waits until a process sleeps in a system call on a descriptor of the given kind; empty for
/// a call without a descriptor.
pub fn wait_asleep_in(number: c_long, pid: Pid, kind: &str) {
    let asleep_in = || {
        let is_it = is_in_call(pid, number, kind)?;
        (is_it && process_state(pid) == Some('S')).then_some(())
    };
    let what = format!("{pid} to sleep in system call {number}");
    wait_while_alive(pid, what, asleep_in);
}

/// Waits until a process sleeps in read(2) on a socket.
pub fn wait_reading_socket(pid: Pid) {
    wait_asleep_in(libc::SYS_read, pid, "socket:");
}

/// Waits until a process sleeps in write(2) on a socket.
pub fn wait_writing_socket(pid: Pid) {
    wait_asleep_in(libc::SYS_write, pid, "socket:");
}

/// Waits until a process sleeps in read(2) on its standard input, which is a pipe.
pub fn wait_reading_input(pid: Pid) {
    wait_asleep_in(libc::SYS_read, pid, "pipe:");
}

/// Waits until a process sleeps in accept(2).
pub fn wait_accepting(pid: Pid) {
    wait_asleep_in(libc::SYS_accept4, pid, "socket:");
}

/// A process's descriptors: number, and what it is.
pub fn descriptors(pid: Pid) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let mut descriptors: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let link = fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, link.to_str()?.to_owned()))
        })
        .collect();
    descriptors.sort();
    descriptors
}

/// The inodes of the sockets that a process has made: those that it inherited are the
/// test's, too.
pub fn sockets(pid: Pid) -> Vec<u64> {
    let inodes = |pid| {
        let links = descriptors(pid).into_iter().map(|(_, link)| link);
        links.filter_map(|link| {
            link.strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
    };
    let inherited: Vec<u64> = inodes(Pid::this()).collect();
    let is_own = |inode: &u64| !inherited.contains(inode);
    inodes(pid).filter(is_own).collect()
}

/// The figure of this name in a file of /proc/PID: in `io` `rchar` (bytes read) or `syscr`
/// (calls of read), in `status` `VmRSS` (in kB).
pub fn figure(pid: Pid, file: &str, name: &str) -> u64 {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

/// A figure of /proc/PID/io. It counts also what children did for which the process has
/// waited.
pub fn io(pid: Pid, name: &str) -> u64 {
    figure(pid, "io", name)
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Sets a soft limit of a running process, with `None` as high as it may be, and returns
/// what it was.
pub fn set_limit(pid: Pid, resource: Resource, soft: Option<u64>) -> u64 {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls are given a `limit` that lives through them.
    unsafe {
        let got = libc::prlimit64(pid.as_raw(), resource, std::ptr::null(), &mut limit);
        Errno::result(got).unwrap();
        let before = limit.rlim_cur;
        limit.rlim_cur = soft.unwrap_or(limit.rlim_max);
        let set = libc::prlimit64(pid.as_raw(), resource, &limit, std::ptr::null_mut());
        Errno::result(set).unwrap();
        before
    }
}

/// The system calls by which C libraries fork.
pub const FORKS: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_fork,
];

/// Lets the kernel answer these system calls of a program with an error, as a sandbox does
/// (seccomp).
pub fn refuse(command: &mut Command, calls: &[c_long], errno: i32) {
    let filter = filter(calls, errno);
    // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(move || Ok(install(&filter)?)) };
}

/// Likewise for this process, to its end.
pub fn refuse_here(calls: &[c_long], errno: i32) {
    install(&filter(calls, errno)).unwrap();
}

fn filter(calls: &[c_long], errno: i32) -> Vec<libc::sock_filter> {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = vec![statement(load, 0, 0, 0)]; // the number of the system call
    for &call in calls {
        filter.push(statement(is, 0, 1, call as u32));
        filter.push(statement(libc::BPF_RET, 0, 0, answer));
    }
    filter.push(statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter
}

fn install(filter: &[libc::sock_filter]) -> nix::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let (mode, program) = (libc::SECCOMP_MODE_FILTER, &raw const program);
    set_no_new_privs()?;
    // SAFETY: `program` and the filter that it points to live through the call.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, program) })?;
    Ok(())
}
