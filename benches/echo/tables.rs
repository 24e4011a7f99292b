//! The tables.

use crate::Bench;
use crate::common::{process_state, set_limit, wait_until};
use crate::load::{self, LINE, PIECE};
use crate::peers::{self, Peer};
use crate::process::{OneCore, Process, Server, kilobytes, minor_faults};
use crate::report::{median, print, take_turns, thousands};
use nix::libc::RLIMIT_NOFILE;
use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

pub fn connections(bench: &Bench) {
    let n = bench.work(1_000);
    let servers: Vec<_> = bench.peers.servers.iter().collect();
    let figures = take_turns(&servers, 9, |peer| {
        let server = warm(peer);
        let rate = |clients| load::connections(&server, clients, n);
        [1, 4, 16].map(rate).to_vec()
    });
    let n = thousands(n);
    let says = format!(
        "By the server: connect, a line, its echo, close, by so many clients at once; \
         {n} connections a round. More is better."
    );
    let columns = ["1 client", "4 clients", "16 clients"];
    let columns = [0, 1, 2].map(|n| (n, columns[n], "connections/s"));
    print("Connections", &says, &servers, &figures, &columns);
}

pub fn roundtrip(bench: &Bench) {
    let n = bench.work(5_000);
    let servers: Vec<_> = bench.peers.servers.iter().collect();
    let figures = take_turns(&servers, 9, |peer| {
        let server = warm(peer);
        vec![load::round_trip(&server, n)]
    });
    let n = thousands(n);
    let says = format!(
        "By the server, on one core with its client: 64 bytes and their echo; a round is \
         the median of {n}. Less is better."
    );
    print(
        "Round trip of a line",
        &says,
        &servers,
        &figures,
        &[(0, "", "µs")],
    );

    let job = Job {
        clients: &bench.peers.line_clients,
        input: &|| {
            let (reader, mut writer) = io::pipe().expect("a pipe");
            writer.write_all(b"hello\n").expect("room in a pipe");
            reader.into()
        },
        bytes: 6,
        runs: bench.work(100),
        on_one_core: false,
    };
    let says = format!(
        "By the client: from its exec to its exit for one line through a pipe; a round is \
         the median of {}. Less is better.",
        job.runs
    );
    job.print(bench, "Start to end of a client", &says, "ms", |seconds| {
        seconds * 1e3
    });
}

pub fn lines(bench: &Bench) {
    let n = bench.work(20_000);
    let file = peers::input(|file| file.write_all(&LINE.repeat(n)));
    let job = Job {
        clients: &bench.peers.line_clients,
        input: &|| from_start(&file),
        bytes: n * LINE.len(),
        runs: 1,
        on_one_core: true,
    };
    let per_100_000 = |seconds| seconds * 100_000.0 / n as f64;
    let n = thousands(n);
    let says = format!(
        "By the client, on one core with tcpserv: {n} lines of 64 bytes from a file, one by \
         one. Less is better."
    );
    job.print(
        bench,
        "Stop-and-wait",
        &says,
        "s for 100,000 lines",
        per_100_000,
    );
}

pub fn bulk(bench: &Bench) {
    let pieces = bench.work(2_000);
    let servers: Vec<_> = bench.peers.servers.iter().collect();
    let figures = take_turns(&servers, 7, |peer| {
        let server = warm(peer);
        vec![load::bulk(&server, pieces)]
    });
    let megabytes = pieces * PIECE / 1_000_000;
    let says = format!(
        "By the server: {megabytes} MB there, in pieces of 256 KiB, and back at the same \
         time, on one connection. More is better."
    );
    print("Bulk", &says, &servers, &figures, &[(0, "", "GB/s")]);
}

pub fn batch(bench: &Bench) {
    let lines = b"a line of sixty bytes, as many come in a file for a batch  \n".repeat(10_000);
    let n = bench.work(1_000);
    let file = peers::input(|file| (0..n).try_for_each(|_| file.write_all(&lines)));
    let job = Job {
        clients: &bench.peers.batch_clients,
        input: &|| from_start(&file),
        bytes: n * lines.len(),
        runs: 1,
        on_one_core: false,
    };
    let says = format!(
        "By the client, against tcpserv: {} MB in lines of 60 bytes from a file to \
         /dev/null. More is better.",
        job.bytes / 1_000_000
    );
    let rate = |seconds| job.bytes as f64 / 1e9 / seconds;
    job.print(bench, "Batch", &says, "GB/s", rate);
}

/// A file as an input, from its start.
fn from_start(mut file: &File) -> Stdio {
    let again = file.rewind().and_then(|()| file.try_clone());
    again
        .unwrap_or_else(|why| panic!("an input file: {why}"))
        .into()
}

/// What clients do, so many times a round, against one tcpserv.
struct Job<'a> {
    clients: &'a [Peer],
    input: &'a dyn Fn() -> Stdio,
    bytes: usize,
    runs: usize,
    on_one_core: bool,
}

impl Job<'_> {
    /// Prints a table of what `figure` makes of their seconds from exec to exit.
    fn print(
        &self,
        bench: &Bench,
        title: &str,
        says: &str,
        unit: &str,
        figure: impl Fn(f64) -> f64,
    ) {
        let server = warm(&bench.peers.servers[0]);
        let _one_core = self.on_one_core.then(|| OneCore::with(&server));
        let (mut clients, mut others) = (Vec::new(), Vec::new());
        for peer in self.clients {
            match self.printed(peer, &server) {
                Ok(bytes) if bytes == self.bytes as u64 => clients.push(peer),
                other => others.push((peer.name, other)),
            }
        }
        let figures = take_turns(&clients, 7, |peer| {
            let run = |_| figure(self.run(peer, &server));
            vec![median((0..self.runs).map(run))]
        });
        print(title, says, &clients, &figures, &[(0, "", unit)]);
        for (name, printed) in others {
            let bytes = self.bytes;
            println!("{name} is left out: of {bytes} bytes it printed {printed:?}.\n");
        }
    }

    fn run(&self, peer: &Peer, server: &Server) -> f64 {
        let mut command = peer.command(server.port);
        command.stdin((self.input)()).stdout(Stdio::null());
        let start = Instant::now();
        let ended = Process::spawn(&mut command).finish();
        ended.unwrap_or_else(|why| panic!("{}: {why}", peer.name));
        start.elapsed().as_secs_f64()
    }

    /// How many bytes a client prints. (Who loses some of them is not fast.)
    fn printed(&self, peer: &Peer, server: &Server) -> Result<u64, String> {
        let (mut reader, writer) = io::pipe().map_err(|why| why.to_string())?;
        let counter = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let mut command = peer.command(server.port);
        let process = Process::spawn(command.stdin((self.input)()).stdout(writer));
        drop(command); // and with it the pipe's other end
        process.finish()?;
        let counted = counter.join().map_err(|_| "a panic")?;
        counted.map_err(|why| why.to_string())
    }
}

pub fn memory(bench: &Bench) {
    let servers: Vec<_> = bench.peers.servers.iter().collect();
    let figures = take_turns(&servers, 21, |peer| {
        let server = warm(peer);
        server.wait_childless();
        let stream = load::client(&server);
        let child = server.only_child();
        let memory = kilobytes(child, "smaps_rollup", &["Private_Clean", "Private_Dirty"]);
        let page_tables = kilobytes(child, "status", &["VmPTE"]);
        // Who traces it finds it a zombie, also where its parent ignores its end.
        let traced = ptrace::seize(child, ptrace::Options::empty());
        traced.unwrap_or_else(|why| panic!("ptrace of a child of {}: {why}", peer.name));
        drop(stream);
        wait_until("the child to end", || process_state(child) == Some('Z'));
        let faults = minor_faults(child).expect("a zombie still has its figures");
        waitpid(child, None).unwrap_or_else(|why| panic!("waitpid for {child}: {why}"));
        vec![faults, memory, page_tables]
    });
    let says = "By the server: page faults of a child in its life, which is one line and its \
                echo, and what it has to itself while it waits for a second. Less is better.";
    let columns = ["page faults", "private memory, kB", "page tables, kB"];
    let columns = [0, 1, 2].map(|n| (n, "", columns[n]));
    print("Memory of a connection", says, &servers, &figures, &columns);
}

pub fn held(bench: &Bench) {
    set_limit(Pid::this(), RLIMIT_NOFILE, None);
    let sizes = [0, 1_000, 10_000].map(|n| bench.work(n));
    let (n, visits) = (bench.work(2_000), bench.work(500));
    let servers = bench.peers.servers.iter();
    let servers: Vec<_> = servers.filter(|peer| peer.name != "socat").collect();
    let failed = RefCell::new(Vec::new());
    let figures = take_turns(&servers, 5, |peer| {
        let server = warm(peer);
        let (mut held, mut figures) = (Vec::new(), Vec::new());
        for size in sizes {
            if let Err(why) = load::hold(&server, &mut held, size) {
                let (got, size) = (thousands(held.len()), thousands(size));
                let why = format!("{}: {got} of {size} held: {why}.", peer.name);
                failed.borrow_mut().push(why);
                figures.resize(2 * sizes.len(), f64::NAN);
                break;
            }
            figures.push(load::round_trip(&server, n));
            figures.push(load::connections(&server, 1, visits));
        }
        drop(held);
        server.wait_childless();
        figures
    });

    let heads = sizes.map(|size| format!("{} held", thousands(size)));
    let columns = |first, unit| [0, 1, 2].map(|n| (first + 2 * n, heads[n].as_str(), unit));
    let [title, says] = [
        "Round trip of a line beside held clients",
        "By the server: as above, while it holds so many other clients. Less is better.",
    ];
    print(title, says, &servers, &figures, &columns(0, "µs"));
    let [title, says] = [
        "Connections beside held clients",
        "By the server: to one client, while it holds so many others. More is better.",
    ];
    let columns = columns(1, "connections/s");
    print(title, says, &servers, &figures, &columns);
    for why in failed.into_inner() {
        println!("{why}\n");
    }
}

/// A server that has served some clients already.
fn warm(peer: &Peer) -> Server {
    let server = Server::start(peer);
    load::connections(&server, 1, 20);
    server
}
