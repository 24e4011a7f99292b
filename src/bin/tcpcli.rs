//! The echo client: sends what is typed, prints what comes back.

use anyhow::Result;
use clap::Parser;
use std::convert::Infallible;
use std::io::{stdin, stdout};
use std::net::SocketAddr;
use std::process::exit;
use unp::*;

fn main() {
    let args = Args::parse();
    if args.trace {
        trace_start();
    }
    let Err(error) = tcpcli(&args); // Infallible has no values: it returns only an error
    if error.is::<StdoutClosed>() {
        exit(0); // nobody reads standard output any more, as in `tcpcli … | head -1`
    }
    err_quit(&error);
}

fn tcpcli(args: &Args) -> Result<Infallible> {
    let mut servaddr = args.ip_address; // sin_family, sin_addr; clap has called Inet_pton
    servaddr.set_port(args.port); // sin_port

    let mut sockfd = Socket(family(servaddr), SOCK_STREAM, 0)?; // AF_INET, or AF_INET6

    Setsockopt(&sockfd, SO_KEEPALIVE, true)?; // notices a server's host that is gone

    Connect(&mut sockfd, servaddr)?; // sockfd keeps servaddr for messages

    let result = if args.batch {
        str_cli_batch(stdin(), &sockfd, stdout())
    } else {
        str_cli(stdin(), &sockfd, stdout())
    };

    if args.trace {
        close_and_watch(sockfd); // without a trace the exit closes it
    }
    result?; // an error: main prints it
    exit(0);
}

// The rest is not in the listing: the options.

/// Echo client of UNIX Network Programming, chapter 5: sends each line of standard input
/// to the server and prints what comes back.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version, allow_negative_numbers = true)]
struct Args {
    /// The server's address, IPv4 or IPv6
    #[arg(value_name = "IPaddress", value_parser = Inet_pton)]
    ip_address: SocketAddr,

    /// The server's port
    #[arg(short, long, default_value_t = SERV_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Send all of the input without waiting for each echo; use it for files
    #[arg(long)]
    batch: bool,

    /// Print each call, and the TCP state of its socket, on standard error
    #[arg(long)]
    trace: bool,
}
