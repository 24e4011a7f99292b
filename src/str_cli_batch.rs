//! str_cli for batch input: it sends without waiting for each echo.
//!
//! With stop-and-wait the connection is idle most of the time. The book's answer for input
//! from a file: send all of it, half-close at its end, and read until the server's FIN.

use crate::retry::{Blocking, retry};
use crate::sockfd::Sockfd;
use crate::str_cli::TERMINATED;
use crate::trace::{trace, trace_sleep};
use crate::wrapsock::{SHUT_WR, Shutdown};
use crate::wrapstdio::Fputs;
use crate::writen::Writen;
use anyhow::{Context, Result, ensure};
use nix::unistd;
use std::io::Read;
use std::os::fd::AsFd;
use std::{sync::mpsc::channel, thread};

/// The bytes of one read or write at the most.
const SIZE: usize = 512 * 1024;

/// Sends all of `fp` and puts all that comes back on `stdout`, both at the same time, until
/// the server's FIN. It expects an echo: as many bytes as it sends, or more.
///
/// A thread sends, with descriptors of its own (dup). If the server ends first, this function
/// does not wait for the thread, which ends when its read of `fp` or its write returns, or the
/// process exits. Until then its descriptor keeps the connection open after the caller's Close.
///
/// # Errors
/// `str_cli: server terminated prematurely`, when the server's FIN comes before all of `fp`
/// was sent, or when fewer bytes have come than were sent; `fgets error: standard input: …`,
/// `readline error: …`, `dup error: …` (no descriptor is left), `pthread_create error: …`, and
/// those of [`Writen`] and [`Fputs`]. What has come by then is on `stdout`.
pub fn str_cli_batch(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let fp = fp
        .as_fd()
        .try_clone_to_owned()
        .context("dup error: standard input")?;
    let to = Sockfd(sockfd.0.try_clone().context("dup error: socket")?);
    let (report, sent) = channel();
    let send = move || {
        let _ = report.send(send_all(fp, &to)); // fails if str_cli_batch has returned
        // Also after an error, so that the rest still comes: without this FIN the server would never send its own.
        let _ = Shutdown(&to, SHUT_WR); // it fails if the connection is gone; then the read does, too
    };
    let sender = thread::Builder::new()
        .spawn(send)
        .context("pthread_create error")?;

    let received = receive_all(sockfd, stdout)?;
    let sent = sent.try_recv().ok().context(TERMINATED)?; // none yet: the server has ended first
    let _ = sender.join(); // now it has closed its descriptors
    let sent = sent?; // the sender's own error, if it had one
    ensure!(received >= sent, TERMINATED); // if that is not so, ensure! returns this error
    Ok(())
}

/// Sends all of `fp`. Returns how many bytes that were.
fn send_all(fp: impl AsFd, sockfd: &Sockfd) -> Result<usize> {
    let mut buf = vec![0; SIZE];
    let mut sent = 0;
    loop {
        trace_sleep(&fp, "read(stdin)");
        let n = Blocking(&fp).read(&mut buf);
        trace!(None, n, "read(stdin)");
        let n = n.context("fgets error: standard input")?;
        if n == 0 {
            return Ok(sent);
        }
        Writen(sockfd, &buf[..n])?;
        sent += n;
    }
}

/// Puts all that comes on `stdout`, until the server's FIN. Returns how many bytes that were.
fn receive_all(sockfd: &Sockfd, stdout: impl AsFd) -> Result<usize> {
    let mut buf = vec![0; SIZE];
    let mut stdout = Blocking(stdout);
    let mut received = 0;
    loop {
        trace_sleep(sockfd, format_args!("read({sockfd})"));
        let n = retry(|| unistd::read(sockfd, &mut buf));
        trace!(sockfd, n, "read({sockfd})");
        let n = n.context("readline error")?;
        if n == 0 {
            return Ok(received);
        }
        Fputs(&buf[..n], &mut stdout)?;
        received += n;
    }
}
