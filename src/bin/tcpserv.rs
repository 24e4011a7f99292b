//! The echo server: a child for each client.

use anyhow::{Result, bail};
use clap::Parser;
use std::convert::Infallible;
use std::{net::SocketAddr, sync::Once};
use unp::*;

fn main() {
    let args = Args::parse();
    if args.trace {
        trace_start();
    }
    let Err(error) = tcpserv(&args); // Infallible has no values: it returns only an error
    err_quit(&error);
}

fn tcpserv(args: &Args) -> Result<Infallible> {
    let mut servaddr = args.bind; // sin_family, sin_addr; the default is INADDR_ANY
    servaddr.set_port(args.port); // sin_port

    let listenfd = Socket(family(servaddr), SOCK_STREAM, 0)?; // AF_INET, or AF_INET6

    set_options(&listenfd, servaddr)?;

    Bind(&listenfd, servaddr)?;

    Listen(&listenfd, args.backlog)?;

    Signal(SIGCHLD, sig_chld)?; // no zombies

    let buf = echo_buf(); // buf of str_echo; before any fork, so that no child has to allocate it

    say(format_args!("listening on {}", Getsockname(&listenfd)?));

    loop {
        wait_at_limit(args)?; // sleeps while there are --max-clients children

        let (connfd, cliaddr) = Accept(&listenfd)?;

        match Fork() {
            Ok(ForkResult::Child) => {
                Close(listenfd); // close listening socket
                set_timeout(&connfd, args); // only with --idle-timeout
                let served = str_echo(&connfd, buf); // process the request
                if args.trace {
                    close_and_watch(connfd); // without a trace the exit closes it
                }
                _exit(exit_status(served)); // exit(0), or exit(1) after an error, which it prints
            }
            Ok(ForkResult::Parent { .. }) => {} // the parent goes on below
            Err(error) => err_ret(&error.context(format!("no child for {cliaddr}"))),
        }

        Close(connfd); // parent closes connected socket
    }
}

// The rest is not in the listing: the options, and the added steps in detail.

/// Echo server of UNIX Network Programming, chapter 5: for each client it forks a child, and
/// the child sends back all that the client sends.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version, allow_negative_numbers = true)]
struct Args {
    /// The port to listen on; 0 means any free one
    #[arg(short, long, default_value_t = SERV_PORT)]
    port: u16,

    /// The address to listen on, IPv4 or IPv6; :: serves both
    #[arg(short, long, value_name = "IPaddress", value_parser = Inet_pton, default_value = "0.0.0.0")]
    bind: SocketAddr,

    /// How many complete connections the kernel queues
    #[arg(long, value_name = "LISTENQ", env = "LISTENQ", value_parser = listenq, default_value_t = LISTENQ)]
    backlog: i32,

    /// Serve at most N clients at a time; 0 means no limit
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_clients: u32,

    /// Disconnect a client that sends nothing, or reads none of its echo, for this long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    idle_timeout: Option<u32>,

    /// Print each call, and the TCP state of its socket, on standard error
    #[arg(long)]
    trace: bool,
}

/// The value of --backlog, or of LISTENQ in the environment, as in the book's Listen. An empty one
/// is as good as none.
fn listenq(text: &str) -> Result<i32> {
    match text.parse() {
        Ok(number @ 0..) => Ok(number),
        _ if text.is_empty() => Ok(LISTENQ),
        _ => bail!(
            "not a number from 0 to {} (LISTENQ may be set in the environment)",
            i32::MAX
        ),
    }
}

fn set_options(listenfd: &Sockfd, servaddr: SocketAddr) -> Result<()> {
    Setsockopt(listenfd, SO_REUSEADDR, true)?; // a restart can bind in TIME_WAIT
    Setsockopt(listenfd, SO_KEEPALIVE, true)?; // for connfd: notices a client's host that is gone
    Setsockopt(listenfd, TCP_NODELAY, true)?; // for connfd: sends each echo at once
    if servaddr.is_ipv6() {
        Setsockopt(listenfd, IPV6_V6ONLY, false)?; // `::` also serves IPv4
    }
    Ok(())
}

/// While there are --max-clients children, sleeps until one ends. Prints a message the first time.
fn wait_at_limit(args: &Args) -> Result<()> {
    static SAID: Once = Once::new();
    if args.max_clients == 0 || !is_full(args.max_clients) {
        return Ok(());
    }
    SAID.call_once(|| say("--max-clients is reached: the next clients wait (see --idle-timeout)"));
    wait_for_room(args.max_clients)
}

/// --idle-timeout, for the child's client.
fn set_timeout(connfd: &Sockfd, args: &Args) {
    if let Some(seconds) = args.idle_timeout {
        let _ = set_idle_timeout(connfd, seconds).inspect_err(err_ret);
    }
}
