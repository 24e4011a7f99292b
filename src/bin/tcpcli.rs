//! The echo client: sends each line that is typed, and prints the echo.

use anyhow::Result;
use clap::Parser;
use std::io::{stdin, stdout};
use std::net::SocketAddr;
use unp::*;

fn main() {
    let args = Args::parse();
    if args.trace {
        trace_start();
    }
    if let Err(error) = tcpcli(&args) {
        err_quit(&error);
    }
}

/// Does what main does in the listing. Each step that is not in the listing is marked `added`.
fn tcpcli(args: &Args) -> Result<()> {
    let mut servaddr = args.ip_address; // sin_family, sin_addr: the option parser calls Inet_pton
    servaddr.set_port(args.port); // sin_port, including htons

    let sockfd = Socket(family(servaddr), SOCK_STREAM, 0)?; // AF_INET or AF_INET6

    Setsockopt(&sockfd, SO_KEEPALIVE, true)?; // added: detects that the server's host is gone

    Connect(&sockfd, servaddr)?;

    if args.batch {
        str_cli_batch(stdin(), &sockfd, stdout())?; // added: sends without waiting for each echo
    } else {
        str_cli(stdin(), &sockfd, stdout())?; // do it all
    }

    exit(0); // the kernel closes sockfd: the FIN, unless a half-close has sent it (never returns)
}

// Also added: the options.

/// Echo client of UNIX Network Programming, chapter 5: sends each line of standard input
/// to the server, and prints what comes back.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version)]
#[command(allow_negative_numbers = true, args_override_self = true)]
struct Args {
    /// The server's address, IPv4 or IPv6 (not a host name)
    #[arg(value_name = "IPaddress", value_parser = Inet_pton)]
    ip_address: SocketAddr,

    /// The server's port
    #[arg(short, long, default_value_t = SERV_PORT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Send all input without waiting for each echo; suits files
    #[arg(long)]
    batch: bool,

    /// Print each call of the listings, with the TCP state of its socket, on standard error
    #[arg(long)]
    trace: bool,
}
