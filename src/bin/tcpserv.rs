//! The echo server: forks a child for each client.

use anyhow::Result;
use clap::Parser;
use std::net::SocketAddr;
use unp::*;

fn main() {
    let args = Args::parse();
    if args.trace {
        trace_start();
    }
    if let Err(error) = tcpserv(&args) {
        err_quit(&error);
    }
}

/// Does what main does in the listing. Each step that is not in the listing is marked `added`.
fn tcpserv(args: &Args) -> Result<()> {
    let mut servaddr = args.address; // sin_family, sin_addr: INADDR_ANY without --bind
    servaddr.set_port(args.port); // sin_port, including htons

    let listenfd = Socket(family(servaddr), SOCK_STREAM, 0)?; // AF_INET or AF_INET6

    set_options(&listenfd, servaddr)?; // added: SO_REUSEADDR and others, see below

    Bind(&listenfd, servaddr)?;

    Listen(&listenfd, args.backlog)?; // LISTENQ by default

    Signal(SIGCHLD, sig_chld)?; // added: no zombies (the book adds this call later in the chapter)
    let myaddr = Getsockname(&listenfd)?; // added: with --port 0 the kernel chooses the port
    err_msg(format_args!("listening on {myaddr}")); // added: a message on standard error

    loop {
        wait_for_room(args.max_clients); // added: at the limit, waits until a child terminates

        // A SocketAddr includes its length, so there is no clilen. Accept returns an error only if
        // listenfd can never accept a connection.
        let (connfd, cliaddr) = Accept(&listenfd)?;

        // SAFETY: this process is single-threaded, so no other thread holds a lock that the child
        // could never acquire.
        let childpid = unsafe { Fork() }; // in C, Ok(Child) is 0, Ok(Parent) is > 0, and Err is -1
        if let Ok(ForkResult::Child) = childpid {
            Close(listenfd); // close listening socket (a move is allowed, as _exit never returns)
            set_timeout(&connfd, args); // added: --idle-timeout
            // process the request
            if let Err(error) = str_echo(&connfd) {
                err_ret(&error.context(cliaddr)); // prints the client's address, then the error
                _exit(1); // in C, str_echo calls err_sys, which exits
            }
            _exit(0); // the kernel closes connfd, which sends the FIN (C's exit also flushes stdio)
        }
        if let Err(error) = childpid {
            err_ret(&error.context(cliaddr)); // added: the server continues without this child
        }
        Close(connfd); // parent closes connected socket (no FIN, because the child still holds it)
    }
}

// Also added: the options, and the two functions used above.

// clap generates the option parser and --help from this struct; each `///` is a help text.

/// Echo server of UNIX Network Programming, chapter 5: forks a child for each client, which
/// sends back everything the client sends.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version)]
#[command(allow_negative_numbers = true, args_override_self = true)]
struct Args {
    /// The port to listen on; 0 means any free port
    #[arg(short, long, default_value_t = SERV_PORT)]
    port: u16,

    /// The address to listen on, IPv4 or IPv6; :: accepts both
    #[arg(short = 'b', long = "bind", value_name = "IPaddress")]
    #[arg(value_parser = Inet_pton, default_value = "0.0.0.0")]
    address: SocketAddr,

    /// The maximum length of the completed connection queue (Linux adds one, and limits it to
    /// net.core.somaxconn)
    #[arg(long, value_name = "LISTENQ", env = "LISTENQ", default_value_t = LISTENQ)]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    backlog: i32,

    /// Serve at most N clients at a time; further clients wait (0 means no limit)
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_clients: u32,

    // set_idle_timeout accepts the same range.
    /// Disconnect a client that sends nothing, or reads none of its echo, for about this long
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=2_147_483))]
    idle_timeout: Option<u32>,

    /// Print each call of the listings, with the TCP state of its socket, on standard error
    #[arg(long)]
    trace: bool,
}

fn set_options(listenfd: &Sockfd, servaddr: SocketAddr) -> Result<()> {
    Setsockopt(listenfd, SO_REUSEADDR, true)?; // a restarted server can bind despite TIME_WAIT
    Setsockopt(listenfd, SO_KEEPALIVE, true)?; // inherited by connfd: detects a dead client host
    Setsockopt(listenfd, TCP_NODELAY, true)?; // inherited by connfd: sends each echo at once
    if servaddr.is_ipv6() {
        Setsockopt(listenfd, IPV6_V6ONLY, false)?; // `::` also accepts IPv4
    }
    Ok(())
}

/// Applies --idle-timeout in the child.
fn set_timeout(connfd: &Sockfd, args: &Args) {
    let timeout = args.idle_timeout;
    if let Some(Err(error)) = timeout.map(|seconds| set_idle_timeout(connfd, seconds)) {
        err_ret(&error);
    }
}
