//! str_echo: what a child does for its client.
//!
//! The book's `lib/str_echo.c`.

use crate::sockfd::Sockfd;
use crate::trace::trace;
use crate::wrapsock::unless_idle;
use crate::writen::Writen;
use anyhow::{Context, Result};
use nix::unistd::read;
use std::io::ErrorKind;

/// The size of [`echo_buf`], in bytes.
///
/// The listing's buffer has MAXLINE. With this one a bulk transfer is more than twice as fast.
const ECHO_BUF: usize = 256 * 1024;

/// The buffer of [`str_echo()`]. It is never freed.
///
/// It starts at a page boundary, where the kernel copies faster. A page of it uses memory only
/// after something was written to it: in a child, what its client has sent.
#[must_use]
pub fn echo_buf() -> &'static mut [u8] {
    const PAGE: usize = 4096;
    let memory = vec![0; ECHO_BUF + PAGE].leak();
    let start = memory.as_ptr().align_offset(PAGE);
    &mut memory[start..][..ECHO_BUF]
}

/// Echoes all that the client sends, until the client's FIN makes read return 0.
///
/// `buf` is the listing's `char buf[MAXLINE]`. The server allocates it once, before any
/// fork ([`echo_buf`]).
///
/// # Errors
/// `str_echo: read error: PEER: …`: the client reset the connection (`ECONNRESET`), its host
/// does not answer (`ETIMEDOUT`), `idle for …`; and those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd, buf: &mut [u8]) -> Result<()> {
    let words = || format!("str_echo: read error: {}", sockfd.peer_name());
    loop {
        let n = unless_idle(sockfd, || read(sockfd, buf));
        trace!(sockfd, n, "read({sockfd})");
        match n {
            Ok(0) => return Ok(()),
            Ok(n) => Writen(sockfd, &buf[..n])?,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
            Err(why) => return Err(why).with_context(words),
        }
    }
}
