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

/// Echoes all that the client sends, until the client's FIN makes read return 0.
///
/// # Errors
/// `str_echo: read error: PEER: …`: the client reset the connection (`ECONNRESET`), its host
/// does not answer (`ETIMEDOUT`), `idle for …` (only after
/// [`set_idle_timeout`](crate::set_idle_timeout)); and those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    // char buf[MAXLINE]: with_buffer lends a larger one, a static of 512 KiB (buffer.rs says why)
    with_buffer(|buf| {
        loop {
            let n = idle::read(sockfd, buf); // read; added: fails after --idle-timeout
            trace!(sockfd, n, "read({sockfd})"); // added: --trace
            match n {
                Ok(0) => return Ok(()),
                Ok(n) => Writen(sockfd, &buf[..n])?,
                Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
                Err(why) => {
                    // err_sys, but the caller prints it
                    let peer = sockfd.peer_name();
                    return Err(why).with_context(|| format!("str_echo: read error: {peer}"));
                }
            }
        }
    })
}
