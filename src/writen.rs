//! Writen: calls write until all bytes are written.
//!
//! The book's `lib/writen.c`.

use crate::retry::retry;
use crate::sockfd::Sockfd;
use crate::trace;
use crate::wrapsock::unless_idle;
use anyhow::{Context, Result};
use nix::unistd::write;
use std::io;

/// write(2), again and again until every byte of `buf` is in the socket's send buffer
/// (TCP输出).
///
/// When the send buffer is full the kernel puts the caller to sleep. When Writen returns, the
/// bytes are in the send buffer, and the caller can use `buf` again. The peer's TCP may not have
/// received them yet, and never will if the connection fails.
///
/// # Errors
/// `writen error: PEER: …`: the peer reset the connection (`ECONNRESET`), or takes no more
/// (`EPIPE`; Rust programs ignore the SIGPIPE that comes with it); `idle for …`, where
/// [`set_idle_timeout`](crate::set_idle_timeout) was called.
pub fn Writen(sockfd: &Sockfd, buf: &[u8]) -> Result<()> {
    let before = trace::before(sockfd);
    let written = write_all(sockfd, buf);
    trace::sent(before, sockfd, &written, format_args!("Writen({sockfd})"));
    written
        .map(drop)
        .with_context(|| format!("writen error: {}", sockfd.peer_name()))
}

fn write_all(sockfd: &Sockfd, buf: &[u8]) -> io::Result<usize> {
    let mut left = buf;
    while !left.is_empty() {
        let nwritten = retry(|| unless_idle(sockfd, || write(sockfd, left)))?;
        left = &left[nwritten..];
    }
    Ok(buf.len())
}
