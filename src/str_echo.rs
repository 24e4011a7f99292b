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
const ECHO_BUF: usize = 512 * 1024;

/// The buffer of [`str_echo()`]. It is never freed.
///
/// It starts at a page boundary, where the kernel copies faster. The kernel gives it memory page
/// by page, when something is written there: a child uses as much as its client sends at once.
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
    loop {
        // read, as in the listing; with --idle-timeout it can also fail as idle
        let n = unless_idle(sockfd, || read(sockfd, buf));
        trace!(sockfd, n, "read({sockfd})");
        match n {
            Ok(0) => return Ok(()),
            Ok(n) => Writen(sockfd, &buf[..n])?,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
            Err(why) => {
                let peer = sockfd.peer_name();
                return Err(why).with_context(|| format!("str_echo: read error: {peer}"));
            }
        }
    }
}
