//! str_echo: what a child does for its client.
//!
//! The book's `lib/str_echo.c`.

use crate::idle::read;
use crate::trace::trace;
use crate::wrapsock::Sockfd;
use crate::writen::Writen;
use anyhow::Result;
use nix::errno::Errno;

/// Bytes that a server should lend to [`str_echo()`].
///
/// The listing's buffer is MAXLINE; a bulk transfer goes nearly twice as fast
/// through this one. A child has only those of its pages that its client fills.
pub const ECHO_BUF: usize = 256 * 1024;

/// Echoes all that the client sends, until its FIN makes read return 0.
///
/// `buf` is the listing's `char buf[MAXLINE]`, lent by the server, which
/// allocates it once for all its children.
///
/// # Errors
/// `str_echo: read error: PEER: …` when the client resets the connection,
/// [`IdleTimeout`](crate::idle::IdleTimeout), and [`Writen`]'s.
pub fn str_echo(sockfd: &Sockfd, buf: &mut [u8]) -> Result<()> {
    loop {
        match read(sockfd, buf) {
            Ok(0) => break,
            Ok(n) => Writen(sockfd, &buf[..n])?,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(sockfd.error("str_echo: read error", errno)),
        }
    }
    trace!(sockfd, "str_echo({sockfd}) returns");
    Ok(())
}
