//! Writen (the book's `lib/writen.c`): calls write until all bytes are written.

use crate::retry::retry;
use crate::sockfd::Sockfd;
use crate::trace::sends;
use anyhow::{Context, Result};
use nix::unistd::write;

/// Calls [write(2)](https://man7.org/linux/man-pages/man2/write.2.html) until every byte of `buf`
/// is in the socket's send buffer (TCP输出; see [the figures](crate::doc::figures)).
///
/// When the send buffer is full, the kernel puts the caller to sleep. When Writen returns, the
/// caller can reuse `buf`, but the peer's TCP may not yet have received the bytes, and if the
/// connection fails, they may never arrive.
///
/// # Errors
/// `writen error: …`: the peer reset the connection (`ECONNRESET`); the connection no longer
/// accepts data (`EPIPE`; Rust programs ignore the accompanying SIGPIPE); or the peer acknowledged
/// nothing for too long (`ETIMEDOUT`; see [`set_idle_timeout`](crate::set_idle_timeout)).
///
/// # Examples
/// ```
/// # use unp::*;
/// # fn main() -> anyhow::Result<()> {
/// # use std::io::Read;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
/// # Connect(&sockfd, listener.local_addr()?)?;
/// # let mut peer = listener.accept()?.0;
/// Writen(&sockfd, b"hello\n")?;
///
/// let mut received = [0; 6];
/// peer.read_exact(&mut received)?; // the other end of the connection
/// assert_eq!(&received, b"hello\n");
/// # Ok(())
/// # }
/// ```
pub fn Writen(sockfd: &Sockfd, buf: &[u8]) -> Result<()> {
    let mut left = buf;
    let write_all = || {
        while !left.is_empty() {
            let nwritten = retry(|| write(sockfd, left))?;
            left = &left[nwritten..];
        }
        Ok(())
    };
    let len = buf.len();
    let written = sends!(sockfd, write_all, "Writen({sockfd}, {len} bytes)");
    written.context("writen error")
}
