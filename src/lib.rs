//! The counterpart of `unp.h` in *UNIX Network Programming* (Stevens, Fenner, Rudoff; third
//! edition): the constants, the wrappers, and the two functions that make up the TCP echo client
//! and server in chapter 5. This crate is for Linux.
//!
//! "The notes" are study notes in Chinese on chapters 2, 4 and 5 of the book, and contain the C
//! listings. The notes are not part of this crate, and you do not need them. This is the server in
//! the notes, with nothing added:
//!
#![doc = concat!("```no_run\n", include_str!("doc/tcpserv01.rs"), "```")]
//!
//! And this is the client:
//!
#![doc = concat!("```no_run\n", include_str!("doc/tcpcli01.rs"), "```")]
//!
//! A long-running server also needs [`SO_REUSEADDR`], so that after a restart it can bind its port
//! while old connections are in TIME_WAIT; [`Signal`], so that no child stays a zombie; and a loop
//! that survives a failed fork. See [A server of your own](doc::own_server) for such a server;
//! the program `tcpserv` is another. A server that is reachable from a network should
//! also call [`wait_for_room`] before Accept, and [`set_idle_timeout`] in the child.
//!
//! # Names and errors
//!
//! A function whose name begins with a capital letter is the book's wrapper for the function of
//! that name. In the book, a wrapper prints an error and exits; here, a wrapper returns the error.
//! There are two exceptions: [`Accept`] retries after most errors, and [`Close`] returns no error.
//! The text of an error names the call in the book's words, then the argument, then the reason.
//! `{:#}` prints the whole text; `{}` omits the reason. Errors on a connected socket do not name
//! the peer, but the caller can add it, as tcpserv does with `error.context(cliaddr)`. The reason
//! is an [`std::io::Error`] that the error wraps:
//!
//! ```
//! # use unp::*;
//! # fn main() -> anyhow::Result<()> {
//! # let bound = Socket(AF_INET, SOCK_STREAM, 0)?;
//! # Bind(&bound, "127.0.0.1:0".parse()?)?;
//! # let servaddr = Getsockname(&bound)?; // no server listens at this address
//! # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
//! let error = Connect(&sockfd, servaddr).unwrap_err();
//! let message = format!("connect error: {servaddr}: Connection refused (os error 111)");
//! assert_eq!(format!("{error:#}"), message);
//!
//! let why = error.downcast_ref::<std::io::Error>().map(|why| why.kind());
//! assert_eq!(why, Some(std::io::ErrorKind::ConnectionRefused));
//! # Ok(())
//! # }
//! ```
//!
//! Two errors have their own types, [`ServerTerminated`] and [`StdoutClosed`], which
//! `error.is::<ServerTerminated>()` and `error.is::<StdoutClosed>()` recognise.
//!
//! # From the notes to the functions
//!
//! | in the notes | here |
//! |---|---|
//! | a simple example (简单案例) | [the figures](doc::figures), [the laboratory](doc::laboratory): experiments to type in |
//! | normal termination (正常终止步骤) | [`exit`], [`_exit`] |
//! | client (客户端): `str_cli`, `Fgets`, `Readline`, `Fputs` | [`str_cli()`], [`Fgets`], [`Readline`], [`Fputs`], [`MAXLINE`]; for files [`str_cli_batch()`] |
//! | server (服务器端): `str_echo`, `Writen` | [`str_echo()`], [`Writen`] |
//! | concurrent server (并发服务器): the skeleton (轮廓), reference counts | [a server of your own](doc::own_server), [`Close`], [without the line](doc::without_the_line) |
//! | socket (Socket函数) | [`Socket()`], [`Sockfd`], [`family`], [`AF_INET`], [`AF_INET6`], [`SOCK_STREAM`], [`Domain`], [`Type`] |
//! | connect (connect函数) | [`Connect`], [`Inet_pton`], [`SERV_PORT`] |
//! | bind (bind函数) | [`Bind`], [`Getsockname`] |
//! | listen (listen函数): the two queues | [`Listen`], [`LISTENQ`]; options that connfd inherits: [`Setsockopt`], [`SocketOption`], [`SO_KEEPALIVE`], [`TCP_NODELAY`], [`IPV6_V6ONLY`] |
//! | accept (accept函数) | [`Accept`] |
//! | close (close函数) | [`Close`] |
//! | fork (fork函数) | [`Fork`], [`ForkResult`], [`Pid`]; zombies: [`Signal`], [`SIGCHLD`], [`sig_chld`], [`Handler`]; a limit: [`wait_for_room`] |
//! | three-way handshake (三次握手) | [`Connect`], [`Listen`], [`Accept`] |
//! | four-segment termination (四次挥手), half-close | [`Shutdown`], [`SHUT_WR`], [`SHUT_RD`], [`SHUT_RDWR`] |
//! | state transition diagram (TCP状态转换图), whole session (完整流程) | [`trace_start`] |
//! | TIME_WAIT (TIME_WAIT状态) | [`SO_REUSEADDR`] |
//! | concurrent server (并发服务器): one port, three sockets | [the figures](doc::figures) |
//! | TCP output (TCP输出): what write does | [`Writen`], [`set_idle_timeout`] |
//! | `err_quit`, `err_sys` | [`err_quit`], [`err_ret`], [`err_msg`], [`ServerTerminated`], [`StdoutClosed`] |

// The wrappers keep the book's capital letters, so that readers can find each wrapper by name.
#![allow(non_snake_case, non_upper_case_globals)]
#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]

#[cfg(any(doc, doctest))]
pub mod doc;

mod error;
mod readline;
mod retry;
mod signal;
mod sockfd;
mod stderr;
mod str_cli;
mod str_cli_batch;
mod str_echo;
mod trace;
mod wrapsock;
mod wrapstdio;
mod wrapunix;
mod writen;

pub use error::{ServerTerminated, StdoutClosed, err_msg, err_quit, err_ret};
pub use nix::unistd::{ForkResult, Pid};
pub use readline::{MAXLINE, Readline};
pub use signal::{Handler, Signal, sig_chld, wait_for_room};
pub use socket2::{Domain, Type};
pub use sockfd::Sockfd;
pub use str_cli::str_cli;
pub use str_cli_batch::str_cli_batch;
pub use str_echo::str_echo;
pub use trace::trace_start;
pub use wrapsock::*;
pub use wrapstdio::{Fgets, Fputs};
pub use wrapunix::{_exit, Close, Fork, exit};
pub use writen::Writen;

/// The signal that the kernel sends to a parent when a child terminates.
pub const SIGCHLD: nix::sys::signal::Signal = nix::sys::signal::SIGCHLD;

/// The port of the book's echo server.
pub const SERV_PORT: u16 = 9877;
