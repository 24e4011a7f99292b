//! The counterpart of `unp.h` in *UNIX Network Programming* (Stevens, Fenner, Rudoff; third
//! edition): the constants, the wrappers, and the two functions that make up the TCP echo client
//! and server of its chapter 5. It is for Linux.
//!
//! "The notes" are study notes in Chinese on chapters 2, 4 and 5, with the C listings. The notes
//! are not part of this crate, and you do not need them. Their server, with nothing added:
//!
#![doc = concat!("```no_run\n", include_str!("doc/tcpserv01.rs"), "```")]
//!
//! And the client:
//!
#![doc = concat!("```no_run\n", include_str!("doc/tcpcli01.rs"), "```")]
//!
//! A server that stays up also needs [`SO_REUSEADDR`], so that a restart can bind its port while
//! old connections are in TIME_WAIT; [`Signal`], so that no child stays a zombie; and a loop that
//! survives a failed fork. [A server of your own](doc::own_server) has all three, and so does the
//! program `tcpserv`. A server that is open to a network should also call [`wait_for_room`] before
//! Accept, and [`set_idle_timeout`] in the child.
//!
//! # Names and errors
//!
//! A function with a capital letter is the book's wrapper for the function of that name. The book's
//! wrapper prints an error and exits; here it returns the error. There are two exceptions:
//! [`Accept`] retries after most errors; [`Close`] returns none. An error names the call in the
//! book's words, then its argument, then the reason. `{:#}` prints all of it; `{}` prints only the
//! call. No error names the peer. Where the peer is known, the caller can add it, as tcpserv does
//! with `error.context(cliaddr)`. The reason is an [`std::io::Error`] inside the error:
//!
//! ```
//! # use unp::*;
//! # fn main() -> anyhow::Result<()> {
//! # let bound = Socket(AF_INET, SOCK_STREAM, 0)?;
//! # Bind(&bound, "127.0.0.1:0".parse()?)?;
//! # let servaddr = Getsockname(&bound)?; // nobody listens there
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
//! Two errors have types of their own: `error.is::<ServerTerminated>()` and
//! `error.is::<StdoutClosed>()` recognise [`ServerTerminated`] and [`StdoutClosed`].
//!
//! # From the notes to the functions
//!
//! | in the notes | here |
//! |---|---|
//! | a simple example (简单案例) | [the figures](doc::figures), [the laboratory](doc::laboratory): experiments to type |
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

// The wrappers keep the book's capitals: a reader finds each by its name.
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
