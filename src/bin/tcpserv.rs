//! The echo server: a child for each client.

use anyhow::Result;
use clap::Parser;
use nix::sys::socket::sockopt::{Ipv6V6Only, KeepAlive, ReuseAddr, TcpNoDelay};
use nix::unistd::ForkResult;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use unp::error::say;
use unp::*;

/// Echo server of UNIX Network Programming, chapter 5: forks a child for each
/// client, which sends back all that the client sends.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version)]
struct Args {
    /// The port to listen on; 0 takes any free one
    #[arg(short, long, default_value_t = SERV_PORT)]
    port: u16,

    /// The address to listen on, IPv4 or IPv6; :: serves both families
    #[arg(short, long, value_name = "IPaddress", default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    bind: IpAddr,

    /// How many complete connections the kernel queues
    #[arg(long, value_name = "N", env = "LISTENQ", default_value_t = LISTENQ, value_parser = clap::value_parser!(i32).range(0..))]
    backlog: i32,
}

fn main() {
    let Err(error) = tcpserv(&Args::parse());
    err_quit(&error);
}

fn tcpserv(args: &Args) -> Result<Infallible> {
    let servaddr = SocketAddr::new(args.bind, args.port);

    let listenfd = Socket(family(servaddr), SOCK_STREAM, 0)?;

    Setsockopt(&listenfd, ReuseAddr, &true)?; // a restart binds over TIME_WAIT
    Setsockopt(&listenfd, KeepAlive, &true)?; // this and the next: for connfd to inherit
    Setsockopt(&listenfd, TcpNoDelay, &true)?;
    if servaddr.is_ipv6() {
        Setsockopt(&listenfd, Ipv6V6Only, &false)?;
    }

    Bind(&listenfd, servaddr)?;

    Listen(&listenfd, args.backlog)?;

    Signal(SIGCHLD, sig_chld)?; // no zombies

    // Allocated, yet not touched before the fork: a child faults in what it fills.
    let mut buf = vec![0; ECHO_BUF];

    say(format_args!("listening on {}", Getsockname(&listenfd)?));

    loop {
        let (connfd, cliaddr) = Accept(&listenfd)?;

        match Fork() {
            Ok(ForkResult::Child) => {
                Close(listenfd); // close listening socket
                let served = str_echo(&connfd, &mut buf); // process the request
                _exit(exit_status(served));
            }
            Ok(ForkResult::Parent { .. }) => {}
            Err(errno) => fork_failed(errno, cliaddr)?,
        }

        Close(connfd); // parent closes connected socket
    }
}
