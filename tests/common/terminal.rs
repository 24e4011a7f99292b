//! A pseudo-terminal, with a program that runs in it.

use super::*;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::pty::openpty;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// A program in a terminal of its own. Dropped, it is killed.
pub struct Terminal {
    process: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Ends when no process has the terminal open any more.
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Runs a program with the terminal as input and output, or with another input.
    pub fn run(command: &mut Command, stdin: Option<Stdio>) -> Terminal {
        let pty = openpty(None, None).unwrap();
        for fd in [&pty.master, &pty.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let end = || pty.slave.try_clone().unwrap();
        command.stdin(stdin.unwrap_or_else(|| end().into()));
        command.stdout(end()).stderr(end());
        let take_terminal = || {
            nix::unistd::setsid()?;
            // SAFETY: a system call on descriptor 1, which is the terminal.
            nix::errno::Errno::result(unsafe { libc::ioctl(1, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, no more.
        let process = spawn(unsafe { command.pre_exec(take_terminal) });
        // So that the terminal ends when the program does.
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        drop(pty.slave);

        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = screen.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 1024];
            loop {
                match output.read(&mut piece) {
                    Ok(n) if n > 0 => shown.lock().unwrap().extend(&piece[..n]),
                    Err(why) if why.kind() == ErrorKind::Interrupted => {}
                    // EIO: no process has the terminal open any more.
                    _ => break,
                }
            }
        });
        Terminal {
            process,
            keyboard,
            screen,
            reader,
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

    /// Waits until all that was ever on the screen is this.
    pub fn wait_shows(&self, expected: &str) {
        let start = Instant::now();
        loop {
            let over = self.reader.is_finished() || start.elapsed() > DEADLINE;
            let screen = self.screen();
            if screen == expected {
                return;
            }
            assert!(!over, "the screen shows {screen:?}, not {expected:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the program sleeps for a key.
    pub fn wait_reading_keys(&self) {
        wait_asleep_in(libc::SYS_read, self.pid(), "/dev/pts/");
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_end(&mut self.process)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
