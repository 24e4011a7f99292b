//! What `unp.h` is to the C listings: the constants, the wrappers and the two functions of
//! which the echo client and the echo server are made.
//!
//! A function with a capital letter is the system call of that name, which does not fail in
//! silence. The book's version prints and exits. Ours returns an error whose message begins
//! with the book's words, then says with what, then why:
//! `bind error: 0.0.0.0:9877: Address already in use (os error 98)`.

// The wrappers keep the book's capitals: a reader finds each by its name.
#![allow(non_snake_case)]
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod readline;
mod retry;
mod sock_diag;
mod sockfd;
mod str_cli;
mod str_cli_batch;
mod str_echo;
mod tcp_state;
pub mod trace;
mod wrapsock;
mod wrapstdio;
mod wrapunix;
mod writen;

pub use error::*;
pub use nix::sys::signal::Signal::SIGCHLD;
pub use nix::unistd::ForkResult;
pub use readline::*;
pub use sockfd::*;
pub use str_cli::*;
pub use str_cli_batch::*;
pub use str_echo::*;
pub use wrapsock::*;
pub use wrapstdio::*;
pub use wrapunix::*;
pub use writen::*;

/// The port of the book's echo server.
pub const SERV_PORT: u16 = 9877;
