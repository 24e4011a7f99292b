//! str_echo: what a child does for its client.
//!
//! The book's `lib/str_echo.c`.

use crate::readline::MAXLINE;
use crate::sockfd::Sockfd;
use crate::wrapsock::read;
use crate::writen::Writen;
use anyhow::{Context, Result};
use std::io::ErrorKind;

/// Echoes everything the client sends, until the client's FIN makes read return 0. (In the code,
/// `added` marks what the listing does not have.)
///
/// # Errors
/// - `str_echo: read error: …`: the client reset the connection (`ECONNRESET`), or its host stopped
///   answering (`ETIMEDOUT`); or `idle for …`, after [`set_idle_timeout`](crate::set_idle_timeout);
/// - those of [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    let mut buf = [0; MAXLINE];
    let mut big = Vec::new(); // added: replaces buf once a client fills it (twice the speed)

    loop {
        let buf: &mut [u8] = if big.is_empty() { &mut buf } else { &mut big }; // added
        let n = match read(sockfd, buf) {
            Ok(0) => return Ok(()), // the client's FIN
            Ok(n) => n,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
            Err(why) => return Err(why).context("str_echo: read error"),  // err_sys
        };
        Writen(sockfd, &buf[..n])?; // on SIGPIPE, which Rust ignores, write fails (EPIPE)
        if n == MAXLINE && big.is_empty() {
            big = vec![0; 64 * MAXLINE]; // added (untouched pages cost nothing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::io::{Read, Write};
    use std::{net::Shutdown, thread};

    /// `ulimit -s 32` in the shell that starts the server.
    #[test]
    fn a_stack_of_32_kib_is_enough() {
        let (mut client, connfd) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        client.write_all(&[b'x'; 20_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let echo = move || str_echo(&Sockfd(connfd));
        let child = thread::Builder::new().stack_size(32 * 1024);
        child.spawn(echo).unwrap().join().unwrap().unwrap();
        let mut echoed = Vec::new();
        client.read_to_end(&mut echoed).unwrap();
        assert_eq!(echoed, [b'x'; 20_000]);
    }
}
