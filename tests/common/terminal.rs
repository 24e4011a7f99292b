//! A pseudo-terminal, with a program before which somebody sits.

use super::{DEADLINE, wait_asleep, wait_for};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::pty::openpty;
use nix::unistd::Pid;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// A program in a terminal of its own. Dropped, it is killed.
pub struct Terminal {
    process: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a program with the terminal at all its ends.
    pub fn run(command: &mut Command) -> Terminal {
        Terminal::run_fed(None, command)
    }

    /// Runs a program with another standard input.
    pub fn run_fed(stdin: Option<Stdio>, command: &mut Command) -> Terminal {
        let pty = openpty(None, None).unwrap();
        for fd in [&pty.master, &pty.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let end = || pty.slave.try_clone().unwrap();
        command.stdin(stdin.unwrap_or_else(|| end().into()));
        command.stdout(end()).stderr(end());
        let become_its_own = || {
            nix::unistd::setsid()?;
            // SAFETY: a system call on descriptor 1, which is the terminal.
            nix::errno::Errno::result(unsafe { libc::ioctl(1, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, no more.
        let process = unsafe { command.pre_exec(become_its_own) }.spawn().unwrap();
        // So that the terminal ends when the program does.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
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

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    pub fn keys(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// All that was ever on the screen.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until just this is on the screen.
    pub fn shows(&self, expected: &str) {
        let shown = || self.screen();
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
    pub fn wait_idle(&self) {
        wait_asleep(self.pid(), libc::SYS_read, |link| {
            link.starts_with("/dev/pts/")
        });
    }

    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the program to end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
