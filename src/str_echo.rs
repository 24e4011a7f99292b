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
/// `str_echo: read error: PEER: …`: the client reset the connection (`ECONNRESET`), its host
/// does not answer (`ETIMEDOUT`), it sends nothing (`idle for …`, only after
/// [`set_idle_timeout`](crate::set_idle_timeout)); and those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    // char buf[MAXLINE]: here a static of 512 KiB, with which bulk is more than twice as fast
    with_buffer(|buf| {
        loop {
            let n = idle::read(sockfd, buf); // read; added: fails after --idle-timeout (SO_RCVTIMEO)
            trace!(sockfd, n, "read({sockfd})"); // added: --trace
            match n {
                Ok(0) => return Ok(()),
                Ok(n) => Writen(sockfd, &buf[..n])?, // no SIGPIPE in Rust: an error, EPIPE
                Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
                Err(why) => {
                    let peer = sockfd.peer_name(); // kept since Accept: a reset makes the kernel forget it
                    // C's err_sys; here the caller prints the error.
                    return Err(why).with_context(|| format!("str_echo: read error: {peer}"));
                }
            }
        }
    })
}
