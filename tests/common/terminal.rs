//! A pseudo-terminal, and a program that runs in it.

use super::*;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};

/// Both ends of a new pseudo-terminal, the user's and the programs'. Unlike with openpty, both are
/// close-on-exec from the start, because another test may start a program at any time.
pub fn pty() -> (File, File) {
    let user = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let programs = options.open(ptsname_r(&user).unwrap()).unwrap();
    (user.as_fd().try_clone_to_owned().unwrap().into(), programs)
}

/// A program in its own terminal, which is killed when dropped.
pub struct Terminal {
    process: Child,
    keyboard: File,
    screen: Output,
}

impl Terminal {
    /// Runs a program with the terminal as its output and, unless `stdin` is given, as its input.
    pub fn run(command: &mut Command, stdin: Option<Stdio>) -> Terminal {
        let (keyboard, slave) = pty();
        let end = || slave.try_clone().unwrap();
        command.stdin(stdin.unwrap_or_else(|| end().into()));
        command.stdout(end()).stderr(end());
        let take_terminal = || {
            nix::unistd::setsid()?;
            // SAFETY: this is a system call on descriptor 1, the terminal.
            nix::errno::Errno::result(unsafe { libc::ioctl(1, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: the child makes only two system calls before exec.
        let process = spawn(unsafe { command.pre_exec(take_terminal) });
        // Otherwise, reading the terminal would not end when the program does.
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        drop(slave);

        let screen = Output::read(keyboard.try_clone().unwrap());
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

    /// Everything ever shown on the screen.
    pub fn screen(&self) -> String {
        self.screen.so_far()
    }

    /// Waits until the screen has shown exactly this.
    pub fn wait_shows(&self, expected: &str) {
        wait_until(expected, || self.screen() == expected);
    }

    /// Waits until the program is blocked in read, waiting for a key.
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
