//! The tests' harness: starts the real programs, ends them, and reads what the
//! kernel says of them. It never asks the programs themselves.
#![allow(dead_code)] // each test file uses its own part

pub mod terminal;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const TCPSERV: &str = env!("CARGO_BIN_EXE_tcpserv");
pub const TCPCLI: &str = env!("CARGO_BIN_EXE_tcpcli");

/// How long anything may take before the test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for an event: asks again and again until there is an answer.
pub fn wait_for<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until it is so.
pub fn wait_until(what: impl Display, mut so: impl FnMut() -> bool) {
    wait_for(what, || so().then_some(()));
}

// ---------------------------------------------------------------- the server

/// A running tcpserv. Dropped, it is killed, and its children with it.
pub struct Server {
    process: Child,
    pub addr: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
    printed: Option<JoinHandle<Vec<u8>>>,
}

impl Server {
    /// tcpserv on a free port of 127.0.0.1, with these further arguments.
    pub fn start(args: &[&str]) -> Server {
        let mut command = Command::new(TCPSERV);
        command
            .env_remove("LISTENQ")
            .args(["-p", "0", "-b", "127.0.0.1"]);
        Server::spawn(command.args(args))
    }

    /// A tcpserv that the caller has put together, once it listens.
    pub fn spawn(command: &mut Command) -> Server {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = drain(process.stdout.take());
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        thread::spawn(move || {
            for line in stderr.lines() {
                heard.lock().unwrap().push(line.unwrap());
            }
        });
        let mut server = Server {
            process,
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            said,
            printed: Some(printed),
        };
        let words = "tcpserv: listening on ";
        let listens = server.wait_said(words);
        server.addr = listens[words.len()..].parse().unwrap();
        server.said.lock().unwrap().retain(|line| *line != listens);
        server
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// What it has said besides where it listens.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line that holds these words.
    pub fn wait_said(&self, words: &str) -> String {
        wait_for(format_args!("the server to say {words:?}"), || {
            self.said().into_iter().find(|line| line.contains(words))
        })
    }

    /// Its children, zombies too.
    pub fn children(&self) -> Vec<Pid> {
        children(self.pid())
    }

    /// The child that serves the client at this address.
    pub fn child_for(&self, client: SocketAddr) -> Pid {
        wait_for(format_args!("a child for {client}"), || {
            let inode = connection(self.addr, client)?.inode;
            let serves = |pid: &Pid| sockets(*pid).contains(&inode);
            self.children().into_iter().find(serves)
        })
    }

    /// A client of the test's own, connected, and the child that serves it.
    pub fn client(&self) -> (TcpStream, Pid) {
        let stream = connect(self.addr);
        let child = self.child_for(stream.local_addr().unwrap());
        (stream, child)
    }

    /// A tcpcli that is connected, and the child that serves it.
    pub fn tcpcli(&self) -> (Client, Pid) {
        let client = Client::start(self.addr);
        let child = self.child_for(client.addr());
        (client, child)
    }

    /// Ends it with a signal, and waits for that.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.process.wait().unwrap()
    }

    /// What it and its children printed on standard output, when all have ended.
    pub fn printed(&mut self) -> Vec<u8> {
        let printed = self.printed.take().unwrap();
        wait_until("the last child to end", || printed.is_finished());
        printed.join().unwrap()
    }

    /// Whether it is still alive.
    pub fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the server to end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.lives() {
            // Stopped first, so that no child is born between the look and the kill.
            let _ = kill(self.pid(), Signal::SIGSTOP);
            for child in self.children() {
                let _ = kill(child, Signal::SIGKILL);
            }
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

// ---------------------------------------------------------------- the client

/// A running tcpcli with pipes at both its ends. Dropped, it is killed.
pub struct Client {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    /// Its server's.
    port: u16,
}

/// How a tcpcli ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// Asserts that it missed a part of its echo, and said so.
    #[track_caller]
    pub fn misses_its_server(&self) {
        let said = "tcpcli: str_cli: server terminated prematurely\n";
        assert_eq!((self.code, self.stderr.as_str()), (Some(1), said));
    }
}

/// A server that does what the test wants, and a tcpcli with these further arguments
/// that is connected to it.
pub fn with_own_server(args: &[&str]) -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::start_with(args, listener.local_addr().unwrap());
    (client, with_deadline(listener.accept().unwrap().0))
}

/// A tcpcli for a server, not yet started.
pub fn tcpcli(server: SocketAddr) -> Command {
    let mut command = Command::new(TCPCLI);
    command.arg(server.ip().to_string());
    command.args(["-p", &server.port().to_string()]);
    command
}

impl Client {
    pub fn start(server: SocketAddr) -> Client {
        Client::start_with(&[], server)
    }

    pub fn start_with(args: &[&str], server: SocketAddr) -> Client {
        let mut command = tcpcli(server);
        Client::spawn(command.args(args).stdout(Stdio::piped()), server)
    }

    /// A tcpcli whose standard output the caller has chosen.
    pub fn spawn(command: &mut Command, server: SocketAddr) -> Client {
        Client::spawn_fed(command.stdin(Stdio::piped()), server)
    }

    /// A tcpcli whose standard input, too, the caller has chosen.
    pub fn spawn_fed(command: &mut Command, server: SocketAddr) -> Client {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        Client {
            stdin: process.stdin.take(),
            stdout: process.stdout.take(),
            process,
            port: server.port(),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// The kernel's row for its socket.
    pub fn connection(&self) -> Option<Connection> {
        let inodes = sockets(self.pid());
        let mine = |row: &Connection| row.remote.port() == self.port && inodes.contains(&row.inode);
        connections().into_iter().find(mine)
    }

    /// Its address, once it is connected.
    pub fn addr(&self) -> SocketAddr {
        let established = || self.connection().filter(|row| row.state == "ESTABLISHED");
        wait_for("tcpcli to be connected", established).local
    }

    pub fn type_in(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        // So much fits into a pipe that can be written to at all (PIPE_BUF).
        for piece in bytes.chunks(4096) {
            let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLOUT)];
            let patience = PollTimeout::try_from(DEADLINE).unwrap();
            assert_eq!(poll(&mut ready, patience), Ok(1), "it takes no input");
            stdin.write_all(piece).unwrap();
        }
    }

    /// Its standard input, for somebody else to type in.
    pub fn take_input(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    /// End of file on its standard input: Ctrl-D.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The next `n` bytes that it prints.
    pub fn printed(&mut self, n: usize) -> Vec<u8> {
        let stdout = self.stdout.as_mut().unwrap();
        let mut bytes = vec![0; n];
        let mut have = 0;
        while have < n {
            let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
            let patience = PollTimeout::try_from(DEADLINE).unwrap();
            let printed = String::from_utf8_lossy(&bytes[..have]).into_owned();
            assert_eq!(poll(&mut ready, patience), Ok(1), "only {printed:?}");
            match stdout.read(&mut bytes[have..]).unwrap() {
                0 => panic!("only {printed:?}, then its end"),
                more => have += more,
            }
        }
        bytes
    }

    /// Nobody reads its standard output any more.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
        // A process that another test is just starting has a copy until its exec.
        let path = format!("/proc/{}/fd/1", self.pid());
        let pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
        wait_until("its last reader to be gone", || {
            let mut pipe = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
            let _ = poll(&mut pipe, PollTimeout::ZERO);
            pipe[0].revents() == Some(PollFlags::POLLERR)
        });
    }

    /// Waits for its end without ending its input.
    pub fn wait(&mut self) -> Ended {
        self.process.stdout = self.stdout.take();
        wait_ended(&mut self.process)
    }

    /// Ends its input and waits for its end.
    pub fn finish(&mut self) -> Ended {
        self.end_input();
        self.wait()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a program that is to end by itself, with no input.
pub fn run(command: &mut Command) -> Ended {
    run_with(Stdio::null(), command)
}

/// Runs a program that is to end by itself, with the given standard input.
pub fn run_with(stdin: impl Into<Stdio>, command: &mut Command) -> Ended {
    let piped = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut client = Client {
        process: piped.spawn().unwrap(),
        stdin: None,
        stdout: None,
        port: 0,
    };
    wait_ended(&mut client.process)
}

/// Takes all that comes out of a pipe, to its end.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        bytes
    })
}

fn wait_ended(process: &mut Child) -> Ended {
    let stdout = drain(process.stdout.take());
    let stderr = drain(process.stderr.take());
    let status = wait_for("the program to end", || process.try_wait().unwrap());
    Ended {
        code: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: String::from_utf8(stderr.join().unwrap()).unwrap(),
    }
}

/// Feeds a tcpcli from a pipe in one go and returns how it ended.
pub fn feed(server: SocketAddr, input: &[u8]) -> Ended {
    feed_to(Client::start(server), input)
}

pub fn feed_to(mut client: Client, input: &[u8]) -> Ended {
    let mut stdin = client.take_input();
    let input = input.to_vec();
    let feeder = thread::spawn(move || {
        // A client that ends early leaves some of it unread.
        let _ = stdin.write_all(&input);
    });
    let ended = client.wait();
    feeder.join().unwrap();
    ended
}

// ----------------------------------------------------- a client of the test's own

/// A connected stream that does not wait for ever.
pub fn connect(server: SocketAddr) -> TcpStream {
    with_deadline(TcpStream::connect(server).unwrap())
}

pub fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends the bytes and reads as many back.
pub fn echo(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut echoed = vec![0; bytes.len()];
    stream.read_exact(&mut echoed).unwrap();
    echoed
}

/// Whether there is nothing to read now: no byte and no end of file.
pub fn silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(why) if why.kind() == std::io::ErrorKind::WouldBlock)
}

/// All that still comes, to the end of file.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sends until the kernel takes no more, and keeps on until it is sure. Returns how
/// many bytes it took.
pub fn fill(stream: &mut TcpStream) -> usize {
    let piece = [b'x'; 64 * 1024];
    let mut sent = 0;
    stream.set_nonblocking(true).unwrap();
    // Full is when the queue neither takes a byte nor drains any more.
    let mut quiet = 0;
    let start = Instant::now();
    while quiet < 50 {
        assert!(start.elapsed() < DEADLINE, "the peer reads on");
        match stream.write(&piece) {
            Ok(n) => (sent, quiet) = (sent + n, 0),
            Err(why) => {
                assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(2));
                quiet += 1;
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

// ------------------------------------------------------------- signals, processes

pub fn signal(pid: Pid, signal: Signal) {
    kill(pid, signal).unwrap_or_else(|errno| panic!("{signal} to {pid}: {errno}"));
}

/// Holds a process still; dropped, it lets it go on.
pub struct Hold(Pid);

pub fn hold(pid: Pid) -> Hold {
    signal(pid, Signal::SIGSTOP);
    wait_until(format_args!("{pid} to stop"), || {
        process_state(pid) == Some('T')
    });
    Hold(pid)
}

impl Drop for Hold {
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

/// How a zombie ended, as its parent's wait will see it.
pub fn zombie_status(pid: Pid) -> i32 {
    wait_until(format_args!("{pid} to end"), || {
        process_state(pid) == Some('Z')
    });
    stat(pid).unwrap().last().unwrap().parse().unwrap()
}

pub fn gone(pid: Pid) -> bool {
    process_state(pid).is_none()
}

/// The children of a process, zombies too.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.to_string();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|&pid| stat(pid).is_some_and(|stat| stat[1] == parent))
        .collect()
}

/// The system call a process sleeps in, and its first argument.
pub fn syscall(pid: Pid) -> Option<(i64, u64)> {
    let syscall = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut fields = syscall.split_whitespace();
    let number = fields.next()?.parse().ok()?;
    let argument = fields.next()?.strip_prefix("0x")?;
    Some((number, u64::from_str_radix(argument, 16).ok()?))
}

/// Waits until a process sleeps in a system call on a descriptor of the given kind.
pub fn wait_asleep(pid: Pid, number: i64, on: impl Fn(&str) -> bool) {
    wait_until(
        format_args!("{pid} to sleep in system call {number}"),
        || {
            process_state(pid) == Some('S')
                && syscall(pid).is_some_and(|(running, fd)| {
                    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
                    running == number && link.is_ok_and(|link| on(link.to_str().unwrap()))
                })
        },
    );
}

/// Waits until a process sleeps in read(2) on a socket.
pub fn wait_reading_socket(pid: Pid) {
    wait_asleep(pid, libc::SYS_read, |link| link.starts_with("socket:"));
}

/// Waits until a process sleeps in write(2) on a socket.
pub fn wait_writing_socket(pid: Pid) {
    wait_asleep(pid, libc::SYS_write, |link| link.starts_with("socket:"));
}

/// Waits until a process sleeps in read(2) on its standard input, which is a pipe.
pub fn wait_reading_input(pid: Pid) {
    wait_asleep(pid, libc::SYS_read, |link| link.starts_with("pipe:"));
}

/// Waits until a process sleeps in poll(2), or ppoll(2) where that is all there is.
pub fn wait_polling(pid: Pid) {
    let poll = [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        libc::SYS_ppoll,
    ];
    wait_until(format_args!("{pid} to sleep in poll"), || {
        process_state(pid) == Some('S') && syscall(pid).is_some_and(|(nr, _)| poll.contains(&nr))
    });
}

/// Waits until a process sleeps in accept(2).
pub fn wait_accepting(pid: Pid) {
    wait_asleep(pid, libc::SYS_accept4, |link| link.starts_with("socket:"));
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

/// The inodes of a process's sockets.
pub fn sockets(pid: Pid) -> Vec<u64> {
    let inode = |(_, link): (i32, String)| -> Option<u64> {
        link.strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    descriptors(pid).into_iter().filter_map(inode).collect()
}

/// One figure of /proc/PID/io: `rchar` bytes read, `syscr` calls of read(2), …
pub fn io(pid: Pid, figure: &str) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let value = io
        .lines()
        .find_map(|line| line.strip_prefix(figure)?.strip_prefix(": "));
    value.unwrap().parse().unwrap()
}

/// A process's descriptor, as a second reference of the test's own to the same
/// open socket.
pub fn borrow_socket(pid: Pid, inode: u64) -> OwnedFd {
    let link = format!("socket:[{inode}]");
    let all = descriptors(pid);
    let (number, _) = all.iter().find(|(_, other)| *other == link).unwrap();
    // SAFETY: both calls take plain numbers; what they return is checked, then owned.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        let pidfd = OwnedFd::from_raw_fd(Errno::result(pidfd).unwrap() as i32);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), *number, 0);
        OwnedFd::from_raw_fd(Errno::result(fd).unwrap() as i32)
    }
}

/// Sets a soft limit of a running process, or lifts it as far as it may, and returns
/// what it was.
pub fn set_limit(pid: Pid, resource: libc::__rlimit_resource_t, soft: Option<u64>) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls are given a `limit` that lives through them.
    unsafe {
        let got = libc::prlimit(pid.as_raw(), resource, std::ptr::null(), &mut limit);
        Errno::result(got).unwrap();
        let before = limit.rlim_cur;
        limit.rlim_cur = soft.unwrap_or(limit.rlim_max);
        let set = libc::prlimit(pid.as_raw(), resource, &limit, std::ptr::null_mut());
        Errno::result(set).unwrap();
        before
    }
}

/// The processor time that a process has used.
pub fn cpu_time(pid: Pid) -> Duration {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let nanos = schedstat.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// One figure of /proc/PID/status, such as `RssAnon` in kB.
pub fn status(pid: Pid, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(figure)?.strip_prefix(":"));
    let number = value.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

// ------------------------------------------------- the kernel's table of connections

/// A row of /proc/net/tcp or tcp6.
#[derive(Clone, Debug)]
pub struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: &'static str,
    /// Bytes sent and not acknowledged.
    pub tx_queue: u64,
    /// Bytes received and not read; of a listening socket, connections not accepted.
    pub rx_queue: u64,
    /// Which timer runs (2 keep-alive, 3 TIME_WAIT), and in how long it ends.
    pub timer: u8,
    pub expires: Duration,
    /// 0 while no process holds it.
    pub inode: u64,
}

pub const STATES: [&str; 13] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RCVD",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "TIME_WAIT",
    "CLOSED",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "SYN_RCVD",
];

pub fn connections() -> Vec<Connection> {
    let mut rows = Vec::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        // A kernel without IPv6 has no second file.
        let table = fs::read_to_string(file).unwrap_or_default();
        rows.extend(table.lines().skip(1).map(row));
    }
    rows
}

fn row(line: &str) -> Connection {
    let fields: Vec<_> = line.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let pair = |text: &str| {
        let (one, other) = text.split_once(':').unwrap();
        (hex(one), hex(other))
    };
    let (tx_queue, rx_queue) = pair(fields[4]);
    let (timer, ticks) = pair(fields[5]);
    Connection {
        local: address(fields[1]),
        remote: address(fields[2]),
        state: STATES[hex(fields[3]) as usize],
        tx_queue,
        rx_queue,
        timer: timer as u8,
        expires: Duration::from_millis(ticks * 10), // USER_HZ is 100
        inode: fields[9].parse().unwrap(),
    }
}

/// `0100007F:2695`: words of the machine's own byte order. An IPv4 address in the
/// IPv6 table becomes an IPv4 address.
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let mut bytes = Vec::new();
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).unwrap(), 16).unwrap();
        bytes.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).to_canonical(),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

/// One end of a connection: the row whose own side is `local`.
pub fn connection(local: SocketAddr, remote: SocketAddr) -> Option<Connection> {
    let this = |row: &Connection| row.local == local && row.remote == remote;
    connections().into_iter().find(this)
}

/// The state of one end of a connection; `None` when the kernel knows it no more.
pub fn tcp_state(local: SocketAddr, remote: SocketAddr) -> Option<&'static str> {
    connection(local, remote).map(|row| row.state)
}

/// Waits until one end of a connection is in a state (`None`: is gone).
pub fn wait_state<'a>(local: SocketAddr, remote: SocketAddr, state: impl Into<Option<&'a str>>) {
    let state = state.into();
    wait_until(
        format_args!("{local} to {remote} to be in {state:?}"),
        || tcp_state(local, remote) == state,
    );
}

/// The listening sockets on a port.
pub fn listening(port: u16) -> Vec<Connection> {
    let ours = |row: &Connection| row.state == "LISTEN" && row.local.port() == port;
    connections().into_iter().filter(ours).collect()
}
