//! The echo client: sends what is typed, prints what comes back.

use anyhow::Result;
use clap::Parser;
use std::convert::Infallible;
use std::io::{stdin, stdout};
use std::net::{IpAddr, SocketAddr};
use std::process::exit;
use unp::*;

/// Echo client of UNIX Network Programming, chapter 5: sends each line that it
/// reads from standard input to the server and prints what comes back.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version)]
struct Args {
    /// The server's address, IPv4 or IPv6
    #[arg(value_name = "IPaddress")]
    ip_address: IpAddr,

    /// The server's port
    #[arg(short, long, default_value_t = SERV_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Send all of the input without waiting for each echo, as for a file
    #[arg(long)]
    batch: bool,

    /// Narrate each call, and the state of the connection after it, on standard error
    #[arg(long)]
    trace: bool,
}

fn main() {
    let Err(error) = tcpcli(&Args::parse());
    err_quit(&error);
}

fn tcpcli(args: &Args) -> Result<Infallible> {
    if args.trace {
        trace::start();
    }

    let servaddr = SocketAddr::new(args.ip_address, args.port);

    let mut sockfd = Socket(family(servaddr), SOCK_STREAM, 0)?;

    Connect(&mut sockfd, servaddr)?;

    let talked = if args.batch {
        str_cli_batch(stdin(), &sockfd, stdout())
    } else {
        str_cli(stdin(), &sockfd, stdout())
    };

    trace::before_exit_watch(sockfd);

    talked?;
    exit(0); // the kernel closes sockfd, and sends the FIN
}
