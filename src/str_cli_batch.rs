//! str_cli for batch input: sends the input without waiting for each echo.
//!
//! With stop-and-wait, the connection is idle most of the time. If the input is a file, the book's
//! solution is to send the whole file, half-close, and read until the server's FIN arrives.

use crate::error::ServerTerminated;
use crate::retry::{Blocking, retry};
use crate::sockfd::Sockfd;
use crate::trace::{trace, trace_sleep};
use crate::wrapsock::{SHUT_WR, Shutdown, read};
use crate::wrapstdio::Fputs;
use crate::wrapunix::Close;
use crate::writen::Writen;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::os::fd::AsFd;
use std::{sync::mpsc::channel, thread};

/// The maximum number of bytes that one call reads.
const SIZE: usize = 512 * 1024;

/// Sends all of `fp` and, at the same time, copies everything received to `stdout` until the
/// server's FIN arrives. The server must send back at least as many bytes as it receives.
///
/// A separate thread sends the data, using duplicates of the descriptors (dup). If the server
/// terminates first, this function does not wait for that thread, which terminates when its read or
/// write returns, or when the process exits. While the thread runs, its descriptor keeps the
/// connection open even after the caller calls Close.
///
/// # Errors
/// [`ServerTerminated`], if the server's FIN arrives before all of `fp` is sent, or if fewer bytes
/// are received than sent; `fgets error: standard input: …`, `readline error: …`, `dup error: …`
/// (no free descriptors), `pthread_create error: …`, and the errors returned by [`Writen`] and
/// [`Fputs`]. All data received before the error occurred has been written to `stdout`.
pub fn str_cli_batch(fp: impl AsFd, sockfd: &Sockfd, stdout: impl AsFd) -> Result<()> {
    let fp = fp.as_fd().try_clone_to_owned().context("dup error")?;
    let to = Sockfd(sockfd.0.try_clone().context("dup error")?);
    let (report, sent) = channel();
    let send = move || {
        let _ = report.send(send_all(fp, &to)); // fails if str_cli_batch has returned
        // Shutdown is called even after an error: otherwise the server would never send its FIN.
        let _ = Shutdown(&to, SHUT_WR); // if this fails, read reports the error
        Close(to);
    };
    let sender = thread::Builder::new().spawn(send);
    let sender = sender.context("pthread_create error")?;

    let received = receive_all(sockfd, stdout)?;
    let sent = sent.try_recv().ok().context(ServerTerminated)?; // the server terminated first
    let _ = sender.join(); // the sender has closed its descriptors
    let sent = sent?; // the sender's error, if there was one
    ensure!(received >= sent, ServerTerminated);
    Ok(())
}

/// Sends all of `fp` and returns the number of bytes sent.
fn send_all(fp: impl AsFd, sockfd: &Sockfd) -> Result<u64> {
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
        sent += n as u64;
    }
}

/// Copies received data to `stdout` until the server's FIN arrives; returns the number of bytes.
fn receive_all(sockfd: &Sockfd, stdout: impl AsFd) -> Result<u64> {
    let mut buf = vec![0; SIZE];
    let mut received = 0;
    loop {
        let n = retry(|| read(sockfd, &mut buf)).context("readline error")?;
        if n == 0 {
            return Ok(received);
        }
        Fputs(&buf[..n], &stdout)?;
        received += n as u64;
    }
}
