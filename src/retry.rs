//! Calls that a signal interrupts (`EINTR`), or that find nothing yet (`EAGAIN`).

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

/// Goes on with a call that a signal interrupted, until it ends otherwise.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// poll(2): sleeps until a descriptor can be read or written.
pub(crate) fn sleep_until(fd: impl AsFd, ready: PollFlags) -> nix::Result<()> {
    let mut fds = [PollFd::new(fd.as_fd(), ready)];
    retry(|| poll(&mut fds, PollTimeout::NONE)).map(drop)
}
