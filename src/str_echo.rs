//! str_echo (the book's `lib/str_echo.c`): what a child does for its client.

use crate::readline::MAXLINE;
use crate::sockfd::Sockfd;
use crate::wrapsock::read;
use crate::writen::Writen;
use anyhow::{Context, Result};
use std::io::ErrorKind;

/// Echoes everything the client sends, until the client's FIN makes read return 0. (In the code,
/// `added` marks whatever is not in the listing.)
///
/// # Errors
/// - `str_echo: read error: …`: the client sent an RST (`ECONNRESET`), its host stopped answering
///   (`ETIMEDOUT`), or the [idle timeout](crate::set_idle_timeout) expired (`idle for …`);
/// - the errors returned by [`Writen`].
pub fn str_echo(sockfd: &Sockfd) -> Result<()> {
    let mut buf = [0; MAXLINE];
    let mut big = Vec::new(); // added: replaces buf once a client has filled it (twice as fast)

    loop {
        let buf: &mut [u8] = if big.is_empty() { &mut buf } else { &mut big }; // added
        let n = match read(sockfd, buf) {
            Ok(0) => return Ok(()), // the client's FIN
            Ok(n) => n,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue, // goto again
            Err(why) => return Err(why).context("str_echo: read error"),  // err_sys
        };
        Writen(sockfd, &buf[..n])?; // Rust ignores SIGPIPE, so write fails with EPIPE instead
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

    /// This is the stack size after `ulimit -s 32` in the shell that starts the server.
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
