//! Processes that end with the values that stand for them, and what they cost by the
//! kernel's count.

use crate::common::{DEADLINE, children, gone, process_state, sockets, wait_for, wait_until};
use crate::peers::Peer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// A process that was started. Dropped, it is killed with its children; when that is
/// because something failed, what it said on standard error is shown.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> Process {
        let spawned = command.stderr(Stdio::piped()).spawn();
        Process(spawned.unwrap_or_else(|why| panic!("{command:?}: {why}")))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn lives(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn kill(&mut self) {
        // Stopped first, so that no child is born between the look and the kill.
        let _ = kill(self.pid(), Signal::SIGSTOP);
        let start = Instant::now();
        while process_state(self.pid()) != Some('T') && start.elapsed() < DEADLINE {
            thread::yield_now();
        }
        let children = children(self.pid());
        for &child in &children {
            let _ = kill(child, Signal::SIGKILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        // What comes next is not to be timed beside their end.
        let ended = |&child: &Pid| gone(child) || process_state(child) == Some('Z');
        while !children.iter().all(ended) && start.elapsed() < DEADLINE {
            thread::yield_now();
        }
    }

    /// Waits for a good end, and says of another one what it was.
    pub fn finish(mut self) -> Result<(), String> {
        // Standard error ends with the process: a sleep that can have a deadline.
        let mut stderr = self.0.stderr.take().expect("piped by spawn");
        let (mut said, mut piece) = (Vec::new(), [0; 512]);
        let status = loop {
            let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            let deadline = PollTimeout::try_from(DEADLINE).unwrap_or(PollTimeout::MAX);
            if poll(&mut ready, deadline) != Ok(1) {
                break "it does not end".to_owned();
            }
            match stderr.read(&mut piece).map_err(|why| why.to_string())? {
                0 => match self.0.wait() {
                    Ok(status) if status.success() => return Ok(()),
                    status => break format!("{status:?}"),
                },
                n => said.extend_from_slice(&piece[..n]),
            }
        };
        Err(format!("{status}: {}", String::from_utf8_lossy(&said)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lives() {
            self.kill();
        }
        if thread::panicking()
            && let Some(mut stderr) = self.0.stderr.take()
        {
            let _ = io::copy(&mut stderr, &mut io::stderr());
        }
    }
}

/// A server, listening on a port of every loopback address.
pub struct Server {
    process: Process,
    pub port: u16,
}

impl Server {
    pub fn start(peer: &Peer) -> Server {
        let command = &mut peer.command(0);
        let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let listens = || {
            assert!(process.lives(), "{} has ended", peer.name);
            listens_on(process.pid())
        };
        let port = wait_for(format_args!("{} to listen", peer.name), listens);
        Server { process, port }
    }

    /// Whether a loader of shared libraries, as ld-linux-x86-64.so.2, is mapped into it.
    pub fn has_loader(&self) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process.pid()));
        let maps = maps.expect("a living process has its maps");
        let mut files = maps.lines().filter_map(|line| line.rsplit('/').next());
        files.any(|file| file.starts_with("ld-"))
    }

    /// The n-th of 16 addresses: one alone has too few ephemeral ports.
    pub fn addr(&self, n: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1 + (n % 16) as u8], self.port))
    }

    /// The child that serves the only client, once it waits for more from it.
    pub fn only_child(&self) -> Pid {
        wait_for("the only child to wait", || {
            let children = children(self.process.pid());
            let asleep = |&child: &Pid| process_state(child) == Some('S');
            children.first().copied().filter(asleep)
        })
    }

    /// Waits until every child has ended and been reaped.
    pub fn wait_childless(&self) {
        wait_until("the last child to be reaped", || {
            children(self.process.pid()).is_empty()
        });
    }
}

/// While this value lives, whatever the calling thread and the server start runs on one
/// core with them. Two processes that take turns gain nothing by a second core: where
/// the scheduler puts them, and how long a core takes to wake up, is then all one sees.
pub struct OneCore {
    server: Pid,
    before: CpuSet,
}

impl OneCore {
    pub fn with(server: &Server) -> OneCore {
        let before = sched_getaffinity(Pid::from_raw(0));
        let before = before.unwrap_or_else(|why| panic!("sched_getaffinity: {why}"));
        let server = server.process.pid();
        let mut one = CpuSet::new();
        let mut cores = (0..CpuSet::count()).filter(|&core| before.is_set(core) == Ok(true));
        let moved = cores
            .next()
            .map_or(Ok(()), |core| one.set(core))
            .and_then(|()| {
                sched_setaffinity(Pid::from_raw(0), &one)?;
                sched_setaffinity(server, &one)
            });
        moved.unwrap_or_else(|why| panic!("sched_setaffinity: {why}"));
        OneCore { server, before }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        for pid in [Pid::from_raw(0), self.server] {
            let _ = sched_setaffinity(pid, &self.before);
        }
    }
}

/// The port that a process listens on.
fn listens_on(pid: Pid) -> Option<u16> {
    let inodes = sockets(pid);
    let table = BufReader::new(File::open("/proc/net/tcp").ok()?);
    for row in table.lines().skip(1) {
        let row = row.ok()?;
        let fields: Vec<_> = row.split_whitespace().collect();
        // Listening sockets, in state 0A, come first, before any number of others.
        if fields[3] != "0A" {
            break;
        }
        if inodes.contains(&fields[9].parse().ok()?) {
            return u16::from_str_radix(fields[1].split_once(':')?.1, 16).ok();
        }
    }
    None
}

/// How many pages a process has faulted in without input, over its life.
pub fn minor_faults(pid: Pid) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold blanks; this is the eighth behind it.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(7)?
        .parse()
        .ok()
}

/// The sum of these lines of a file of /proc/PID, in kB.
pub fn kilobytes(pid: Pid, file: &str, names: &[&str]) -> f64 {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
    let value = |line: &str| -> Option<f64> {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().strip_suffix(" kB")?;
        names.contains(&name).then(|| value.parse().ok())?
    };
    text.lines().filter_map(value).sum()
}
