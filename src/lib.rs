//! What `unp.h` is to the C listings: the constants, the wrappers and the two functions of
//! which the echo client and the echo server are made.
//!
//! A function with a capital letter is the book's wrapper of the function with that name. The
//! book's wrapper prints an error and exits (its Accept calls accept again after ECONNABORTED). Ours
//! returns the error. Only [`Accept`] prints most errors and calls accept again, and [`Close`] has none. A message has the call in the book's words, then its argument, then the reason:
//! `bind error: 0.0.0.0:9877: Address already in use (os error 98)`. (Only that of [`Inet_pton`] is the
//! bare reason: the option parser adds the rest.) No message names the peer: its caller
//! adds it where it is known, as tcpserv does with `error.context(cliaddr)`.
//!
//! The kernel's reason is an [`std::io::Error`] inside the error:
//!
//! ```
//! # use unp::*;
//! # fn main() -> anyhow::Result<()> {
//! # let bound = Socket(AF_INET, SOCK_STREAM, 0)?;
//! # Bind(&bound, "127.0.0.1:0".parse()?)?;
//! # let servaddr = Getsockname(&bound)?; // nobody listens there
//! # let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;
//! let error = Connect(&sockfd, servaddr).unwrap_err();
//! let why = error.downcast_ref::<std::io::Error>().map(|why| why.kind());
//! assert_eq!(why, Some(std::io::ErrorKind::ConnectionRefused)); // or TimedOut, …
//! # Ok(())
//! # }
//! ```
//! When nobody reads its output any more, [`str_cli()`] returns an error, too: the one for which
//! `error.is::<StdoutClosed>()` is true.
//!
//! # From the documents to the functions
//!
//! | in the documents | here |
//! |---|---|
//! | 客户端, client: `str_cli`, `Fgets`, `Readline`, `Fputs` | [`str_cli()`], [`Fgets`], [`Readline`], [`Fputs`]; for files [`str_cli_batch()`] |
//! | 服务器端, server: `str_echo`, `Writen` | [`str_echo()`], [`Writen`] |
//! | 并发服务器, concurrent server: the skeleton, reference counts | [a server of one's own](doc::own_server), [`Close`], [without the line](doc::without_the_line) |
//! | Socket函数 | [`Socket()`], [`Sockfd`], [`family`], [`AF_INET`], [`SOCK_STREAM`]; [`Setsockopt`], [`SO_KEEPALIVE`], [`TCP_NODELAY`], [`IPV6_V6ONLY`] |
//! | connect函数 | [`Connect`], [`Inet_pton`], [`SERV_PORT`] |
//! | bind函数 | [`Bind`], [`Getsockname`] |
//! | listen函数: the two queues | [`Listen`], [`LISTENQ`] |
//! | accept函数 | [`Accept`] |
//! | close函数 | [`Close`] |
//! | fork函数 | [`Fork`], [`ForkResult`]; zombies: [`Signal`], [`sig_chld`]; a limit: [`wait_for_room`] |
//! | 正常终止步骤, the client's and the child's exit | [`exit`], [`_exit`] |
//! | 三次握手, three-way handshake | [`Connect`], [`Listen`], [`Accept`] |
//! | 四次挥手, half-close | [`Shutdown`], [`SHUT_WR`] |
//! | TCP状态转换图, the states | [`trace_start`] |
//! | TIME_WAIT状态 | [`Setsockopt`], [`SO_REUSEADDR`] |
//! | TCP输出, what write does | [`Writen`], [`set_idle_timeout`] |
//! | `err_quit`, `err_sys` | [`err_quit`], [`err_ret`], [`err_msg`], [`StdoutClosed`] |

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
pub use nix::sys::signal::Signal::SIGCHLD;
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

/// The port of the book's echo server.
pub const SERV_PORT: u16 = 9877;
