//! Writen: calls write until all bytes are written.
//!
//! The book's `lib/writen.c`.

use crate::idle;
use crate::retry::retry;
use crate::sockfd::Sockfd;
use crate::trace::sends;
use anyhow::{Context, Result};

/// write(2), again and again until every byte of `buf` is in the socket's send buffer
/// (TCP输出).
///
/// When the send buffer is full the kernel puts the caller to sleep. When Writen returns, the
/// bytes are in the send buffer, and the caller can use `buf` again. The peer's TCP may not have
/// received them yet, and never will if the connection fails.
///
/// ```text
///  this process           this host's TCP                    the other host's TCP
///  buf ---- write ------> send buffer ---- segments, each of ---> receive buffer
///  (full: write sleeps)   |                at most the MSS        |
///                         | keeps all that has no ACK yet,        |
///                         | and sends it again                    |
///                         | drops it <-------- ACK ---------------+---- read ---> its process
/// ```
/// The tests o1, o2, w4 and w5 show it.
///
/// # Errors
/// `writen error: PEER: …`: the peer reset the connection (`ECONNRESET`), or takes no more
/// (`EPIPE`; Rust programs ignore the SIGPIPE that comes with it), its host does not answer
/// (`ETIMEDOUT`); `idle for …`, where [`set_idle_timeout`](crate::set_idle_timeout) was called.
pub fn Writen(sockfd: &Sockfd, buf: &[u8]) -> Result<()> {
    let write_all = || {
        let mut left = buf;
        while !left.is_empty() {
            let nwritten = retry(|| idle::write(sockfd, left))?;
            left = &left[nwritten..];
        }
        Ok(buf.len())
    };
    let written = sends(sockfd, format_args!("Writen({sockfd})"), write_all);
    written.with_context(|| format!("writen error: {}", sockfd.peer_name()))?;
    Ok(())
}
