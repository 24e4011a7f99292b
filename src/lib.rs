//! What `unp.h` is to the C listings: the constants, the wrappers and the two
//! functions that the echo client and the echo server are made of.
//!
//! A capitalised function is the system call of the same name that does not
//! fail silently. The book's version prints and exits; ours returns an error
//! whose message begins with the book's words, then says with what, then why:
//! `bind error: 0.0.0.0:9877: Address already in use (os error 98)`.
//!
//! | in the documents | here |
//! |---|---|
//! | `unp.h` | this page: [`SERV_PORT`], [`MAXLINE`], [`LISTENQ`], [`SOCK_STREAM`] … |
//! | `Socket`, `Connect`, `Bind`, `Listen`, `Accept` | [`wrapsock`] |
//! | `Fork`, `Close`, the child's `exit` | [`wrapunix`] |
//! | `Fgets`, `Fputs`, `stdin`, `stdout` | [`wrapstdio`] |
//! | `Readline` | [`readline`] |
//! | `Writen` | [`writen`] |
//! | `str_echo` | [`str_echo`](mod@str_echo) |
//! | `str_cli` | [`str_cli`](mod@str_cli), and [`str_cli_batch`](mod@str_cli_batch) for files |
//! | `err_quit`, `err_sys` | [`error`] |
//!
//! # A server of your own
//!
//! The generic skeleton of the documents (并发服务器): the parent accepts and
//! forks for ever; the child closes the listening socket and serves, the parent
//! closes the connected one. Any function of a connected socket can stand where
//! `process_handler` stands.
//!
//! ```
//! use nix::unistd::ForkResult;
//! use std::convert::Infallible;
//! use unp::*;
//!
//! /// Answers each line with its length.
//! fn process_handler(connfd: &Sockfd) -> anyhow::Result<()> {
//!     let mut lines = Rline::new(connfd);
//!     loop {
//!         let line = Readline(&mut lines, MAXLINE)?;
//!         if line.is_empty() {
//!             return Ok(()); // the client's FIN
//!         }
//!         let answer = format!("{}\n", line.len());
//!         Writen(connfd, answer.as_bytes())?;
//!     }
//! }
//!
//! fn concurrent_server(listenfd: Sockfd) -> anyhow::Result<Infallible> {
//!     Signal(SIGCHLD, sig_chld)?;
//!     loop {
//!         let (connfd, cliaddr) = Accept(&listenfd)?;
//!
//!         match Fork() {
//!             Ok(ForkResult::Child) => {
//!                 Close(listenfd);
//!                 _exit(exit_status(process_handler(&connfd)));
//!             }
//!             Ok(ForkResult::Parent { .. }) => {}
//!             Err(errno) => fork_failed(errno, cliaddr)?,
//!         }
//!         Close(connfd);
//!     }
//! }
//!
//! # fn main() -> anyhow::Result<()> {
//! let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
//! Bind(&listenfd, "127.0.0.1:0".parse()?)?;
//! Listen(&listenfd, LISTENQ)?;
//! # let servaddr = Getsockname(&listenfd)?;
//! # let server = match Fork()? {
//! # ForkResult::Child => {
//! let Err(error) = concurrent_server(listenfd);
//! err_quit(&error)
//! # }
//! # ForkResult::Parent { child } => child,
//! # };
//! # let ask = |question: &[u8]| -> anyhow::Result<Vec<u8>> {
//! #     let mut sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
//! #     Connect(&mut sockfd, servaddr)?;
//! #     Writen(&sockfd, question)?;
//! #     Shutdown(&sockfd, SHUT_WR)?;
//! #     let mut answers = Rline::new(&sockfd);
//! #     let first = Readline(&mut answers, MAXLINE)?.to_vec();
//! #     let second = Readline(&mut answers, MAXLINE)?;
//! #     Ok([&first, second].concat())
//! # };
//! # let answers = [ask(b"hello\nhello, world\n"), ask(b"\n")];
//! # nix::sys::signal::kill(server, nix::sys::signal::SIGKILL)?;
//! # nix::sys::wait::waitpid(server, None)?;
//! # let [first, second] = answers;
//! # assert_eq!(first?, b"6\n13\n");
//! # assert_eq!(second?, b"1\n");
//! # Ok(())
//! # }
//! ```

// The wrappers keep the book's capitals: a reader finds each by its name.
#![allow(non_snake_case)]
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod error;
pub mod idle;
pub mod page_buf;
pub mod readline;
mod retry;
pub mod str_cli;
pub mod str_cli_batch;
pub mod str_echo;
pub mod tcp_state;
pub mod trace;
pub mod wrapsock;
pub mod wrapstdio;
pub mod wrapunix;
pub mod writen;

pub use error::{err_quit, err_ret, exit_status};
pub use idle::MAX_IDLE_TIMEOUT;
pub use page_buf::PageBuf;
pub use readline::{Readline, Rline, Source};
pub use str_cli::str_cli;
pub use str_cli_batch::str_cli_batch;
pub use str_echo::{ECHO_BUF, str_echo};
pub use wrapsock::{
    Accept, Bind, Connect, Getsockname, Listen, Setsockopt, Shutdown, Socket, Sockfd,
};
pub use wrapstdio::{Fgets, Fputs, Stdin, Stdout, StdoutClosed};
pub use wrapunix::{_exit, Children, Close, Fork, Handler, Signal, fork_failed, sig_chld};
pub use writen::Writen;

pub use nix::sys::signal::Signal::SIGCHLD;
pub use std::net::Shutdown::Write as SHUT_WR;

use socket2::{Domain, Type};
use std::net::SocketAddr;

/// The port of the book's echo server.
pub const SERV_PORT: u16 = 9877;

/// The longest piece, in bytes, in which a line travels.
///
/// C's `fgets` and `readline` keep one of these for their NUL; ours have none,
/// so a line of just this length, its newline included, still travels whole.
pub const MAXLINE: usize = 4096;

/// The second argument of [`Listen`]: how many complete connections the kernel
/// queues (listen函数).
pub const LISTENQ: i32 = 1024;

/// IPv4, as in the listings.
pub const AF_INET: Domain = Domain::IPV4;

/// A byte stream: with [`AF_INET`], TCP.
pub const SOCK_STREAM: Type = Type::STREAM;

/// The first argument of [`Socket()`] for an address: [`AF_INET`] or its IPv6 twin.
#[must_use]
pub fn family(address: SocketAddr) -> Domain {
    Domain::for_address(address)
}

/// README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
