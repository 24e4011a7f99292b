//! A running tcpcli, or another program that exits on its own.

use super::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout};

/// The command that starts a tcpcli for this server.
pub fn tcpcli(server: SocketAddr) -> Command {
    let mut command = Command::new(TCPCLI);
    command.arg(server.ip().to_string());
    command.args(["-p", &server.port().to_string()]);
    command
}

/// A running program, which is killed when dropped.
pub struct Program {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    said: Output,
}

#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// Asserts that the program printed this and no messages, and exited with status 0.
    #[track_caller]
    pub fn succeeded(&self, stdout: &[u8]) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        let start = String::from_utf8_lossy(&stdout[..stdout.len().min(100)]);
        assert!(self.stdout == stdout, "expected {start:?} …");
    }

    /// Asserts that the program printed this on standard error, and exited with status 1.
    #[track_caller]
    pub fn failed(&self, said: &str) {
        let expected = (Some(1), format!("{said}\n"));
        assert_eq!((self.code, self.stderr.clone()), expected);
    }

    /// Asserts that tcpcli reported an incomplete echo.
    #[track_caller]
    pub fn terminated_prematurely(&self) {
        self.failed("tcpcli: str_cli: server terminated prematurely");
    }
}

impl Program {
    /// Starts a tcpcli for this server with additional arguments and pipes for input and output.
    pub fn tcpcli(server: SocketAddr, args: &[&str]) -> Program {
        Program::spawn(tcpcli(server).args(args), Stdio::piped(), Stdio::piped())
    }

    pub fn spawn(
        command: &mut Command,
        stdin: impl Into<Stdio>,
        stdout: impl Into<Stdio>,
    ) -> Program {
        let mut process = spawn(command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()));
        // Otherwise the command would keep copies of the caller's descriptors.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Program {
            stdin: process.stdin.take(),
            stdout: process.stdout.take(),
            said: Output::read(process.stderr.take().unwrap()),
            process,
        }
    }

    /// A tcpcli that is connected to a server in the test itself.
    pub fn tcpcli_with_own_server(args: &[&str]) -> (Program, TcpStream) {
        Program::with_own_server(|addr| Program::tcpcli(addr, args))
    }

    /// A client that is connected to a server in the test itself.
    pub fn with_own_server(client: impl FnOnce(SocketAddr) -> Program) -> (Program, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap());
        let connfd = accept(&listener);
        (client, connfd)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// Waits until the client is connected, and returns its address.
    pub fn addr(&self) -> SocketAddr {
        // The server may already have closed the connection, so any later state will do.
        let connected = || connection_of(self.pid()).filter(|row| row.state != "SYN_SENT");
        wait_while_alive(self.pid(), "tcpcli to be connected", connected).local
    }

    /// The lines printed so far on standard error.
    pub fn said(&self) -> Vec<String> {
        self.said.lines()
    }

    pub fn type_in(&mut self, bytes: &[u8]) {
        show_process(self.pid(), format_args!("input, {} bytes", bytes.len()));
        let stdin = self.stdin.as_mut().unwrap();
        // If poll reports a pipe as writable, it has room for PIPE_BUF (4096) bytes.
        for piece in bytes.chunks(4096) {
            assert!(ready(stdin, PollFlags::POLLOUT), "its input is not read");
            stdin.write_all(piece).unwrap();
        }
    }

    /// Takes the program's standard input, so that a thread can write to it.
    pub fn take_input(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    /// Ends the program's standard input, as Ctrl-D does.
    pub fn ctrl_d(&mut self) {
        show_process(self.pid(), "end of input");
        self.stdin = None;
    }

    /// The next `n` bytes that the program prints.
    pub fn next_output(&mut self, n: usize) -> Vec<u8> {
        let stdout = self.stdout.as_mut().unwrap();
        let mut bytes = vec![0; n];
        let mut have = 0;
        while have < n {
            let printed = String::from_utf8_lossy(&bytes[..have]).into_owned();
            assert!(ready(stdout, PollFlags::POLLIN), "only {printed:?}");
            match stdout.read(&mut bytes[have..]).unwrap() {
                0 => panic!("only {printed:?}, then end of file"),
                more => have += more,
            }
        }
        show_process(self.pid(), format_args!("output, {n} bytes"));
        bytes
    }

    /// Types a line, and asserts that the program prints it next.
    #[track_caller]
    pub fn echoes(&mut self, line: &[u8]) {
        self.type_in(line);
        assert_eq!(self.next_output(line.len()), line);
    }

    /// Closes the read end of the program's standard output.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
        // A process that another test is starting holds a copy of this end until its exec.
        let path = format!("/proc/{}/fd/1", self.pid());
        let pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
        wait_until("the last reader to close its end", || {
            let mut pipe = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
            let _ = poll(&mut pipe, PollTimeout::ZERO);
            pipe[0].revents() == Some(PollFlags::POLLERR)
        });
    }

    /// Waits until the program exits, without closing its input.
    pub fn wait(&mut self) -> Ended {
        let stdout = self.stdout.take().map(Output::read);
        let status = wait_end(&mut self.process);
        let stdout = stdout.map_or(Vec::new(), |mut stdout| stdout.whole());
        let stderr = String::from_utf8(self.said.whole()).unwrap();
        show(format_args!("{status}: {}", stderr.trim_end()));
        Ended {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    pub fn ctrl_d_and_wait(&mut self) -> Ended {
        self.ctrl_d();
        self.wait()
    }

    /// Types this input without waiting for output, closes it, and waits until the program exits.
    pub fn feed(mut self, input: &[u8]) -> Ended {
        let mut stdin = self.take_input();
        let input = input.to_vec();
        // A program that exits early leaves part of the input unread.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let ended = self.wait();
        join("all input to be written", feeder);
        ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a program without input until it exits.
pub fn run(command: &mut Command) -> Ended {
    Program::spawn(command, Stdio::null(), Stdio::piped()).wait()
}

/// Waits until a pipe is readable or writable; returns false at the deadline.
fn ready(pipe: &impl AsFd, what: PollFlags) -> bool {
    let deadline = PollTimeout::try_from(DEADLINE).unwrap();
    poll(&mut [PollFd::new(pipe.as_fd(), what)], deadline) == Ok(1)
}
