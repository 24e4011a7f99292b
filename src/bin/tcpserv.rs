//! The echo server: a child for each client.

use anyhow::Result;
use clap::Parser;
use nix::sys::socket::sockopt::{Ipv6V6Only, KeepAlive, ReuseAddr, TcpNoDelay};
use nix::unistd::ForkResult;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
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

    /// How many clients are served at a time, the others waiting; 0 is any number
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_clients: u32,

    /// Let a client go from which nothing came, or who took nothing of what waits for it, for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,

    /// Narrate each call, and the state of the connection after it, on standard error
    #[arg(long)]
    trace: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::from_secs) {
        Ok(timeout) if (Duration::from_secs(1)..=MAX_IDLE_TIMEOUT).contains(&timeout) => {
            Ok(timeout)
        }
        _ => Err(format!(
            "not a number from 1 to {}",
            MAX_IDLE_TIMEOUT.as_secs()
        )),
    }
}

fn main() {
    let Err(error) = tcpserv(&Args::parse());
    err_quit(&error);
}

fn tcpserv(args: &Args) -> Result<Infallible> {
    if args.trace {
        trace::start();
    }

    let servaddr = SocketAddr::new(args.bind, args.port);

    let mut listenfd = Socket(family(servaddr), SOCK_STREAM, 0)?;

    Setsockopt(&listenfd, ReuseAddr, &true)?; // a restart binds over TIME_WAIT
    Setsockopt(&listenfd, KeepAlive, &true)?; // these three: for connfd to inherit
    Setsockopt(&listenfd, TcpNoDelay, &true)?;
    listenfd.set_idle_timeout(args.idle_timeout)?;
    if servaddr.is_ipv6() {
        Setsockopt(&listenfd, Ipv6V6Only, &false)?;
    }

    Bind(&listenfd, servaddr)?;

    Listen(&listenfd, args.backlog)?;

    Signal(SIGCHLD, sig_chld)?; // no zombies

    // Allocated, yet not touched before the fork: a child faults in what it fills.
    let mut buf = PageBuf::new(ECHO_BUF);

    say(format_args!("listening on {}", Getsockname(&listenfd)?));

    let mut children = Children::at_most(args.max_clients as usize, "--max-clients");

    loop {
        children.wait_for_room()?; // the others wait in the kernel's queue

        let (connfd, cliaddr) = Accept(&listenfd)?;

        match Fork() {
            Ok(ForkResult::Child) => {
                Close(listenfd); // close listening socket
                let served = str_echo(&connfd, &mut buf); // process the request
                trace::before_exit(connfd);
                _exit(exit_status(served));
            }
            Ok(ForkResult::Parent { .. }) => children.born(),
            Err(errno) => fork_failed(errno, cliaddr)?,
        }

        Close(connfd); // parent closes connected socket
    }
}
