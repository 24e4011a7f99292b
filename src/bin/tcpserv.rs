//! The echo server: a child for each client.

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

/// The listing's main. Each step that the listing does not have is marked `added`.
fn tcpserv(args: &Args) -> Result<()> {
    let mut servaddr = args.address; // sin_family, sin_addr: INADDR_ANY, if there is no --bind
    servaddr.set_port(args.port); // sin_port; set_port does the htons

    let listenfd = Socket(family(servaddr), SOCK_STREAM, 0)?; // AF_INET, or AF_INET6

    set_options(&listenfd, servaddr)?; // added: SO_REUSEADDR and others, see below

    Bind(&listenfd, servaddr)?;

    Listen(&listenfd, args.backlog)?; // LISTENQ, if no --backlog or $LISTENQ is given

    Signal(SIGCHLD, sig_chld)?; // added: no zombies (the book adds it later in its chapter)
    let myaddr = Getsockname(&listenfd)?; // added: with --port 0 the kernel has chosen the port
    err_msg(format_args!("listening on {myaddr}")); // added: prints it on standard error

    loop {
        wait_for_room(args.max_clients); // added: at this limit it sleeps until a child ends

        // No clilen: a SocketAddr knows its length. After an error Accept itself calls accept again; it returns
        // an error, and the server ends, only if listenfd does not listen.
        let (connfd, cliaddr) = Accept(&listenfd)?;

        // SAFETY: this process has one thread. (Another could hold a lock, which the child could never get.)
        let childpid = unsafe { Fork() }; // Ok(Child) for C's 0, Ok(Parent { child }) for a pid, Err for -1
        if let Ok(ForkResult::Child) = childpid {
            Close(listenfd); // close listening socket (Rust allows it in a loop because _exit never returns)
            set_timeout(&connfd, args); // added: --idle-timeout
            // process the request
            if let Err(error) = str_echo(&connfd) {
                err_ret(&error.context(cliaddr)); // the client's address, then the error
                _exit(1); // as C's err_sys in str_echo
            }
            _exit(0); // the kernel closes connfd: the FIN. (C's exit also flushes copies of the parent's buffers)
        }
        if let Err(error) = childpid {
            err_ret(&error.context(cliaddr)); // added: the server goes on; no child holds connfd
        }
        Close(connfd); // parent closes connected socket: no FIN, because the child still holds it
    }
}

// Added, too: the options, and two functions of the added steps.

// From this struct clap makes the option parser and --help: each `///` is a help text.

/// Echo server of UNIX Network Programming, chapter 5: for each client it forks a child, and
/// the child sends back all that the client sends.
#[derive(Parser)]
#[command(name = env!("CARGO_BIN_NAME"), version)]
#[command(allow_negative_numbers = true, args_override_self = true)]
struct Args {
    /// The port to listen on; 0 means any free one
    #[arg(short, long, default_value_t = SERV_PORT)]
    port: u16,

    /// The address to listen on, IPv4 or IPv6; :: serves both
    #[arg(short = 'b', long = "bind", value_name = "IPaddress", value_parser = Inet_pton, default_value = "0.0.0.0")]
    address: SocketAddr,

    /// How many complete connections the kernel queues (Linux: one more, and net.core.somaxconn at most)
    #[arg(long, value_name = "LISTENQ", env = "LISTENQ", default_value_t = LISTENQ, value_parser = clap::value_parser!(i32).range(0..))]
    backlog: i32,

    /// Serve at most N clients at a time, the next ones wait; 0 means no limit
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_clients: u32,

    // In milliseconds the largest must fit a C int.
    /// Disconnect a client that sends nothing, or takes nothing of its echo, for about this long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=2_147_483))]
    idle_timeout: Option<u32>,

    /// Print each call of the listings, and the TCP state of its socket, on standard error
    #[arg(long)]
    trace: bool,
}

fn set_options(listenfd: &Sockfd, servaddr: SocketAddr) -> Result<()> {
    Setsockopt(listenfd, SO_REUSEADDR, true)?; // a restart can bind in TIME_WAIT
    Setsockopt(listenfd, SO_KEEPALIVE, true)?; // connfd inherits it: notices a client's host that is gone
    Setsockopt(listenfd, TCP_NODELAY, true)?; // connfd inherits it: sends each echo at once
    if servaddr.is_ipv6() {
        Setsockopt(listenfd, IPV6_V6ONLY, false)?; // `::` also serves IPv4
    }
    Ok(())
}

/// --idle-timeout, for the child's client.
fn set_timeout(connfd: &Sockfd, args: &Args) {
    if let Some(seconds) = args.idle_timeout {
        if let Err(error) = set_idle_timeout(connfd, seconds) {
            err_ret(&error);
        }
    }
}
