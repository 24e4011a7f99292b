//! Calls that a signal interrupts (`EINTR`), or that find nothing yet (`EAGAIN`).

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Calls again while a signal interrupts the call.
pub(crate) fn retry<T, E: Into<Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Sleeps until a descriptor can be read or written, or for so long. False after that.
pub(crate) fn wait(fd: impl AsFd, event: PollFlags, limit: PollTimeout) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), event)];
    Ok(retry(|| poll(&mut fds, limit))? > 0)
}

/// A descriptor whose read(2) and write(2) sleep even if somebody made it non-blocking,
/// as a shell or a program that shares the terminal can do.
pub(crate) struct Blocking<Fd>(pub Fd);

impl<Fd: AsFd> Blocking<Fd> {
    fn when(
        &self,
        event: PollFlags,
        mut call: impl FnMut() -> nix::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match retry(&mut call) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    _ = wait(&self.0, event, PollTimeout::NONE)?
                }
                done => return done,
            }
        }
    }
}

impl<Fd: AsFd> Read for Blocking<Fd> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.when(PollFlags::POLLIN, || read(&self.0, buf))
    }
}

impl<Fd: AsFd> Write for Blocking<Fd> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.when(PollFlags::POLLOUT, || write(&self.0, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
