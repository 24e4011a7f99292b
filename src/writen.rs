//! Writen: a write that writes it all.
//!
//! The book's `lib/writen.c`.

use crate::retry::retry;
use crate::trace::trace;
use crate::wrapsock::Sockfd;
use anyhow::Result;
use nix::unistd::write;

/// write(2), again and again until every byte of `buf` is in the socket's send
/// buffer (TCP输出).
///
/// When the buffer is full the kernel puts the caller to sleep. On return the
/// bytes are the kernel's to deliver; the peer may have read none of them.
///
/// # Errors
/// `writen error: PEER: …`: the peer reset the connection (`ECONNRESET`) or takes
/// no more (`EPIPE`; Rust programs ignore the SIGPIPE that comes with it); or
/// [`IdleTimeout`](crate::idle::IdleTimeout).
pub fn Writen(sockfd: &Sockfd, buf: &[u8]) -> Result<()> {
    let mut left = buf;
    while !left.is_empty() {
        let nwritten = retry(|| write(sockfd, left))
            .inspect_err(|errno| trace!(sockfd, "Writen({sockfd}) = -1, {}", errno.desc()))
            .map_err(|errno| sockfd.error("writen error", errno))?;
        left = &left[nwritten..];
    }
    trace!(sockfd, "Writen({sockfd}) = {}", buf.len());
    Ok(())
}
