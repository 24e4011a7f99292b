//! Calls that a signal interrupts (`EINTR`), or that find nothing yet (`EAGAIN`).

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Calls again while a signal interrupts the call.
pub(crate) fn retry<T, E: Into<io::Error>>(
    mut call: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A descriptor whose read(2) and write(2) sleep even if somebody made it non-blocking,
/// as a shell or a program that shares the terminal can do.
pub(crate) struct Blocking<Fd>(pub Fd);

impl<Fd: AsFd> Blocking<Fd> {
    fn sleep_until(
        &self,
        ready: PollFlags,
        mut call: impl FnMut() -> nix::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match retry(&mut call) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.0.as_fd(), ready)];
                    retry(|| poll(&mut fds, PollTimeout::NONE))?;
                }
                done => return done,
            }
        }
    }
}

impl<Fd: AsFd> Read for Blocking<Fd> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.sleep_until(PollFlags::POLLIN, || read(&self.0, buf))
    }
}

impl<Fd: AsFd> Write for Blocking<Fd> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.sleep_until(PollFlags::POLLOUT, || write(&self.0, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
