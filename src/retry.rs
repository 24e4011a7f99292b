//! Retries calls that a signal interrupted (`EINTR`) or that would block (`EAGAIN`).

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Restarts a call each time a signal interrupts it.
pub(crate) fn retry<T, E: Into<Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits until the descriptor is readable or writable, or until `limit` expires; returns false on
/// timeout.
pub(crate) fn wait(fd: impl AsFd, event: PollFlags, limit: PollTimeout) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), event)];
    Ok(retry(|| poll(&mut fds, limit))? > 0)
}

/// A descriptor on which read(2) and write(2) block even if a shell, or another program that shares
/// the terminal, has made the descriptor non-blocking.
pub(crate) struct Blocking<Fd>(pub Fd);

impl<Fd: AsFd> Blocking<Fd> {
    fn when(
        &self,
        event: PollFlags,
        mut call: impl FnMut() -> nix::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match call() {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => _ = wait(&self.0, event, PollTimeout::NONE)?,
                done => return Ok(done?),
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
