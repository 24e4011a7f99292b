//! The load, which is the same for all servers and all clients.

use crate::common::{DEADLINE, connect, echo, memory_file, rest};
use crate::peers::Peer;
use crate::report::median;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

/// A line of 64 bytes, including its newline.
pub const LINE: &[u8] = b"a line of 64 bytes, of which a newline is the last: 0123456789.\n";

/// Makes one connection: a line, its echo, then both FINs, the client's first.
fn visit(server: SocketAddr) {
    let mut stream = connect(server);
    echo(&mut stream, LINE);
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut stream).is_empty(), "more came back than was sent");
}

/// The rate of `n` connections from `clients` clients at a time, in connections per second.
pub fn connections(server: SocketAddr, clients: usize, n: usize) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || (client..n).step_by(clients).for_each(|_| visit(server)));
        }
    });
    n as f64 / start.elapsed().as_secs_f64()
}

/// The median round-trip time of `n` lines on one connection, in µs.
pub fn round_trip(server: SocketAddr, n: usize) -> f64 {
    let mut stream = connect(server);
    let one = |_| {
        let start = Instant::now();
        echo(&mut stream, LINE);
        start.elapsed().as_secs_f64() * 1e6
    };
    median((0..n).map(one))
}

/// The rate of sending this many MiB in pieces of 256 KiB while reading the echo, in GB/s.
pub fn bulk(server: SocketAddr, mebibytes: usize) -> f64 {
    let stream = connect(server);
    let (mut sender, mut receiver) = (&stream, &stream);
    let pieces = 4 * mebibytes;
    let piece = vec![b'x'; 256 * 1024];
    let mut echoed = piece.clone();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| (0..pieces).for_each(|_| sender.write_all(&piece).unwrap()));
        (0..pieces).for_each(|_| receiver.read_exact(&mut echoed).unwrap());
    });
    (pieces * piece.len()) as f64 / 1e9 / start.elapsed().as_secs_f64()
}

/// A file of lines, used as the clients' standard input.
pub struct Input {
    file: File,
    pub bytes: usize,
}

impl Input {
    pub fn new(lines: usize) -> Input {
        let mut file = memory_file();
        file.write_all(&LINE.repeat(lines)).unwrap();
        let bytes = lines * LINE.len();
        Input { file, bytes }
    }

    /// The median time of `runs` runs of a client, from its start to its exit, in seconds.
    pub fn time(&self, client: &Peer, server: SocketAddr, runs: usize) -> f64 {
        // The first run is not timed, and checks that the client prints the whole echo.
        let output = memory_file();
        self.run(client, server, output.try_clone().unwrap());
        let printed = output.metadata().unwrap().len();
        let (name, bytes) = (client.name, self.bytes as u64);
        assert!(
            printed == bytes,
            "{name} printed {printed} of {bytes} bytes"
        );
        drop(output);
        median((0..runs).map(|_| self.run(client, server, Stdio::null())))
    }

    fn run(&self, client: &Peer, server: SocketAddr, stdout: impl Into<Stdio>) -> f64 {
        // Reading standard error ends when the client exits, and can have a deadline.
        let (mut said, stderr) = UnixStream::pair().unwrap();
        said.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = client.command(server.port());
        (&self.file).rewind().unwrap();
        command.stdin(self.file.try_clone().unwrap());
        command.stdout(stdout).stderr(OwnedFd::from(stderr));
        let start = Instant::now();
        let mut process = command
            .spawn()
            .unwrap_or_else(|why| panic!("{}: {why}", client.name));
        drop(command); // the command holds a copy of stderr
        let mut why = String::new();
        if said.read_to_string(&mut why).is_err() {
            process.kill().unwrap();
        }
        let status = process.wait().unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert!(status.success(), "{}: {status}: {why}", client.name);
        seconds
    }
}

/// Measures on one core, on which the servers and clients also run. Otherwise, the result mostly
/// shows where the scheduler puts two processes that take turns, and how long another core takes
/// to wake up.
pub fn on_one_core<T: Send>(measure: impl FnOnce() -> T + Send) -> T {
    let on_this_core = || {
        let mut this = CpuSet::new();
        this.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &this).unwrap();
        measure()
    };
    thread::scope(|scope| scope.spawn(on_this_core).join()).unwrap_or_else(|why| resume_unwind(why))
}
