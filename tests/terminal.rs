//! The client in a real pseudo-terminal, as someone sits before it.

mod common;

use common::*;
use nix::libc;
use nix::pty::openpty;
use nix::unistd::Pid;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;

const CTRL_D: &[u8] = b"\x04";

/// A program in a terminal of its own. Dropped, it is killed.
struct Terminal {
    process: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn run(command: &mut Command) -> Terminal {
        let pty = openpty(None, None).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let become_its_own = || {
            nix::unistd::setsid()?;
            // SAFETY: a system call on descriptor 0, which is the terminal.
            nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, no more.
        let process = unsafe { command.pre_exec(become_its_own) }.spawn().unwrap();
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        drop(pty.slave);

        let keyboard = File::from(pty.master);
        let mut glass = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = screen.clone();
        thread::spawn(move || {
            let mut piece = [0; 1024];
            loop {
                match glass.read(&mut piece) {
                    Ok(n) if n > 0 => shown.lock().unwrap().extend(&piece[..n]),
                    // EIO: nobody has the terminal open any more.
                    Err(why) if why.kind() == ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        });
        Terminal {
            process,
            keyboard,
            screen,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    fn keys(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Waits until just this is on the screen.
    fn shows(&self, expected: &str) {
        let shown = || String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        let start = std::time::Instant::now();
        while shown() != expected {
            assert!(
                start.elapsed() < DEADLINE,
                "{:?}, not {expected:?}",
                shown()
            );
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Waits until it sleeps for a key.
    fn wait_idle(&self) {
        wait_asleep(self.pid(), libc::SYS_read, |link| {
            link.starts_with("/dev/pts/")
        });
    }

    fn ended(&mut self) -> ExitStatus {
        wait_for("the program to end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// The terminal itself shows what is typed, and turns \n into \r\n.

#[test]
fn typed_lines_come_back_one_by_one_and_ctrl_d_ends_it() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr));
    terminal.wait_idle();

    terminal.keys(b"hello\n");
    terminal.shows("hello\r\nhello\r\n");
    terminal.wait_idle();
    terminal.keys("再见\n".as_bytes());
    terminal.shows("hello\r\nhello\r\n再见\r\n再见\r\n");
    terminal.wait_idle();
    terminal.keys(CTRL_D);

    assert_eq!(terminal.ended().code(), Some(0));
    terminal.shows("hello\r\nhello\r\n再见\r\n再见\r\n");
}

#[test]
fn ctrl_d_in_mid_line_hands_over_the_beginning_and_the_line_goes_on() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr));
    let child = server.child_for(client_of(&terminal, &server));
    wait_reading_socket(child);
    terminal.wait_idle();
    let before = io(child, "syscr");

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    wait_until("tcpcli to read it", || io(terminal.pid(), "rchar") >= 2);
    terminal.wait_idle();
    terminal.shows("ab");
    assert_eq!(io(child, "syscr"), before, "half a line is not sent");

    terminal.keys(b"cd\n");
    terminal.shows("abcd\r\nabcd\r\n");
    terminal.wait_idle();
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn ctrl_d_twice_in_mid_line_sends_what_there_is_and_ends_it() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr));
    terminal.wait_idle();

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    terminal.keys(CTRL_D);

    assert_eq!(terminal.ended().code(), Some(0));
    terminal.shows("abab"); // the second one is the echo, with no newline added
}

#[test]
fn on_a_terminal_each_echo_shows_before_the_next_line_is_read() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr));
    terminal.wait_idle();
    let addr = client_of(&terminal, &server);
    let child = server.child_for(addr);
    wait_reading_socket(child);

    let input = "one\ntwo\nthree\n";
    let writes = io(terminal.pid(), "syscw");
    terminal.keys(input.as_bytes());
    let echoed = "one\r\ntwo\r\nthree\r\n";
    wait_until("all six lines", || {
        terminal.screen.lock().unwrap().len() == 2 * echoed.len()
    });
    terminal.wait_idle();
    assert_eq!(
        io(terminal.pid(), "syscw") - writes,
        6,
        "to the socket, to the screen, thrice"
    );
}

/// The address of the tcpcli in a terminal.
fn client_of(terminal: &Terminal, server: &Server) -> std::net::SocketAddr {
    let inodes = || sockets(terminal.pid());
    wait_for("tcpcli to be connected", || {
        let inodes = inodes();
        connections()
            .into_iter()
            .find(|row| row.remote == server.addr && inodes.contains(&row.inode))
            .map(|row| row.local)
    })
}
