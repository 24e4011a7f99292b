//! str_echo: what a child does for its client.
//!
//! The book's `lib/str_echo.c`.

use crate::readline::MAXLINE;
use crate::sockfd::Sockfd;
use crate::trace::{trace, trace_sleep};
use crate::wrapsock::idle;
use crate::writen::Writen;
use anyhow::{Context, Result};
use nix::unistd::read;
use std::io::ErrorKind;

/// Echoes all that the client sends, until the client's FIN makes read return 0. (In the code, `added`
/// marks what the listing does not have.)
///
/// # Errors
/// - `str_echo: read error: …`: the client reset the connection (`ECONNRESET`), or its host does not
///   answer (`ETIMEDOUT`); or `idle for …`, after [`set_idle_timeout`](crate::set_idle_timeout);
/// - those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    let mut buf = [0; 8 * MAXLINE]; // C: buf[MAXLINE]; with eight times as much, bulk is twice as fast

    loop {
        trace_sleep(sockfd, format_args!("read({sockfd})")); // added: --trace prints it if read will sleep
        let n = read(sockfd, &mut buf).map_err(|why| idle(sockfd, why)); // added: idle names --idle-timeout
        trace!(sockfd, n, "read({sockfd})"); // added: --trace prints what read has returned
        match n {
            Ok(0) => return Ok(()),              // the client's FIN
            Ok(n) => Writen(sockfd, &buf[..n])?, // Rust ignores SIGPIPE: then write fails (EPIPE)
            Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
            Err(why) => return Err(why).context("str_echo: read error"), // C's err_sys prints it here; the caller does
        }
    }
}
