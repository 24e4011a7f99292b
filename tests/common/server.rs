//! A running tcpserv.

use super::*;
use nix::sys::signal::killpg;
use std::os::unix::process::CommandExt;

/// The command that starts a tcpserv at this address; port 0 means any free port.
pub fn tcpserv(ip: &str, port: u16) -> Command {
    let mut command = Command::new(TCPSERV);
    command.args(["-b", ip, "-p", &port.to_string()]);
    command
}

const LISTENING: &str = "tcpserv: listening on ";

/// A running tcpserv, which is killed with its children when dropped.
///
/// The server leads a process group that contains its children, so one signal kills them all. If
/// the test is killed, the kernel resumes the stopped processes in the orphaned group, and they
/// exit because their clients exit.
pub struct Server {
    program: Program,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts a tcpserv on a free port of 127.0.0.1, with additional arguments.
    pub fn start(args: &[&str]) -> Server {
        Server::spawn(tcpserv("127.0.0.1", 0).args(args))
    }

    /// Starts a tcpserv with this command, and waits until it listens.
    pub fn spawn(command: &mut Command) -> Server {
        let program = Program::spawn(command.process_group(0), Stdio::null(), Stdio::null());
        let addr = wait_while_alive(program.pid(), "the server to listen", || {
            let said = program.said();
            let mut address = said.iter().filter_map(|line| line.strip_prefix(LISTENING));
            Some(address.next()?.parse().unwrap())
        });
        Server { program, addr }
    }

    pub fn pid(&self) -> Pid {
        self.program.pid()
    }

    /// The lines printed so far, except the one with the listening address.
    pub fn said(&self) -> Vec<String> {
        let mut said = self.program.said();
        said.retain(|line| !line.starts_with(LISTENING));
        said
    }

    /// Waits for a line that contains these words.
    pub fn wait_said(&self, words: &str) -> String {
        let line = || self.said().into_iter().find(|line| line.contains(words));
        let what = format!("the server to print {words:?}");
        wait_while_alive(self.pid(), what, line)
    }

    /// Waits for exactly this line.
    pub fn wait_line(&self, line: &str) {
        assert_eq!(self.wait_said(line), line);
    }

    /// Stops the server while it is blocked in accept, so that it accepts no connections.
    pub fn stop_accepting(&self) -> Stopped {
        wait_accepting(self.pid());
        stop(self.pid())
    }

    /// The server's children, including zombies.
    pub fn children(&self) -> Vec<Pid> {
        children(self.pid())
    }

    pub fn wait_children(&self, n: usize) {
        wait_until(format_args!("{n} children"), || self.children().len() == n);
    }

    /// The child that serves the client at this address.
    pub fn child_for(&self, client: SocketAddr) -> Pid {
        wait_while_alive(self.pid(), format!("a child for {client}"), || {
            let mut rows = connections(self.addr.port()).into_iter();
            let inode = rows.find(|row| row.remote == client)?.inode;
            let serves = |pid: &Pid| sockets(*pid).contains(&inode);
            self.children().into_iter().find(serves)
        })
    }

    /// A connected client in the test itself, and the child that serves it.
    pub fn client(&self) -> (TcpStream, Pid) {
        let stream = connect(self.addr);
        let child = self.child_for(stream.local_addr().unwrap());
        (stream, child)
    }

    /// A connected tcpcli, and the child that serves it.
    pub fn tcpcli(&self) -> (Program, Pid) {
        self.tcpcli_with(&[])
    }

    /// A connected tcpcli with these arguments, and the child that serves it.
    pub fn tcpcli_with(&self, args: &[&str]) -> (Program, Pid) {
        let client = Program::tcpcli(self.addr, args);
        let child = self.child_for(client.addr());
        (client, child)
    }

    /// Terminates the server with a signal, and waits until it is a zombie. The process group
    /// exists until the server is dropped.
    pub fn end(&self, how: Signal) {
        signal(self.pid(), how);
        wait_until("the server to terminate", || ended(self.pid()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server printed: {:#?}", self.said());
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }
}
