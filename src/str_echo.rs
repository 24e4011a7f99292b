//! str_echo: what a child does for its client.
//!
//! The book's `lib/str_echo.c`.

use crate::buffer::with_buffer;
use crate::idle;
use crate::sockfd::Sockfd;
use crate::trace::trace;
use crate::writen::Writen;
use anyhow::{Context, Result};
use std::io::ErrorKind;

/// Echoes all that the client sends, until the client's FIN makes read return 0. (In the code, `added`
/// marks what the listing does not have.)
///
/// # Errors
/// `str_echo: read error: PEER: …`: the client reset the connection (`ECONNRESET`), or
/// sends nothing (`idle for …`, only after [`set_idle_timeout`](crate::set_idle_timeout)), or its host does
/// not answer (`ETIMEDOUT`); and those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    // char buf[MAXLINE]: here 512 KiB, static; a bulk transfer is more than twice as fast with it
    with_buffer(|buf| {
        loop {
            let n = idle::read(sockfd, buf); // read; added: fails after --idle-timeout (SO_RCVTIMEO)
            trace!(sockfd, n, "read({sockfd})"); // added: --trace
            match n {
                Ok(0) => return Ok(()),
                Ok(n) => Writen(sockfd, &buf[..n])?, // Rust ignores SIGPIPE: after a reset, EPIPE
                Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
                Err(why) => {
                    let peer = sockfd.peer_name(); // Accept kept it: after a reset getpeername fails
                    // C's err_sys; here the caller prints the error.
                    return Err(why).with_context(|| format!("str_echo: read error: {peer}"));
                }
            }
        }
    })
}
