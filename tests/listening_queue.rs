//! listen函数: from CLOSED to LISTEN, and the queue of complete connections.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;
use unp::{AF_INET, Accept, Bind, Getsockname, Listen, SOCK_STREAM, Setsockopt, Socket, Sockfd};

fn bound() -> (Sockfd, SocketAddr) {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
    Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
    let servaddr = Getsockname(&listenfd).unwrap();
    (listenfd, servaddr)
}

/// A tcpserv whose parent is held still, so that it accepts nobody.
fn not_accepting(args: &[&str]) -> (Server, Stopped) {
    let server = Server::start(args);
    wait_accepting(server.pid());
    let still = stop(server.pid());
    (server, still)
}

#[test]
fn s3_the_socket_is_in_listen_as_long_as_the_server_lives() {
    let server = Server::start(&[]);
    let port = server.addr.port();
    assert_eq!(listening(port).len(), 1);
    drop(server.client());
    assert_eq!(listening(port).len(), 1);

    server.end(Signal::SIGTERM);
    assert!(listening(port).is_empty());
}

#[test]
fn s3_listen_leads_from_closed_to_listen() {
    let state = |sockfd: &Sockfd| tcp_info_state(sockfd);
    let (listenfd, _) = bound();
    assert_eq!(state(&listenfd), "CLOSED");
    Listen(&listenfd, 1).unwrap();
    assert_eq!(state(&listenfd), "LISTEN");
}

#[test]
fn s11_a_connection_is_complete_before_accept_is_called() {
    let (server, still) = not_accepting(&[]);

    let stream = connect(server.addr);
    let client = stream.local_addr().unwrap();

    wait_state(server.addr, client, "ESTABLISHED");
    let row = connection(server.addr, client).unwrap();
    assert_eq!(row.inode, 0, "it is nobody's descriptor yet");
    wait_until("one to be in the queue", || {
        listening(server.addr.port())[0].rx_queue == 1
    });
    drop(still);
    wait_until("accept to take it", || {
        listening(server.addr.port())[0].rx_queue == 0
    });
    server.child_for(client);
}

#[test]
fn s12_data_that_comes_before_accept_is_queued_and_echoed_later() {
    let (server, still) = not_accepting(&[]);
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();

    stream.write_all(b"early bird\n").unwrap();
    wait_until("the kernel to queue it", || {
        connection(server.addr, client).is_some_and(|row| row.rx_queue == 11)
    });

    drop(still);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"early bird\n");
}

#[test]
fn s12_up_to_the_receive_buffer_and_none_is_lost() {
    let (server, still) = not_accepting(&[]);
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();

    let sent = fill(&mut stream) as u64;

    // Probes of the full window may still move some from one queue to the other.
    wait_until("the rest to wait at the client", || {
        let at_server = connection(server.addr, client).unwrap().rx_queue;
        let at_client = connection(client, server.addr).unwrap().tx_queue;
        at_server > 0 && at_client > 0 && at_server + at_client == sent
    });

    drop(still);
    let reader = stream.try_clone().unwrap();
    let echoed = std::io::copy(&mut reader.take(sent), &mut std::io::sink()).unwrap();
    assert_eq!(echoed, sent);
}

#[test]
fn s13_the_backlog_bounds_the_queue_n_and_one_more_on_linux() {
    for backlog in [0, 1, 4] {
        let (server, _still) = not_accepting(&["--backlog", &backlog.to_string()]);
        backlog_is(&server, backlog);
    }
}

#[test]
fn s13_the_backlog_is_listenq_from_the_environment_unless_an_option_is_given() {
    let server = |args: &[&str]| {
        let mut command = Command::new(TCPSERV);
        command
            .env("LISTENQ", "2")
            .args(["-b", "127.0.0.1", "-p", "0"]);
        let server = Server::spawn(command.args(args));
        wait_accepting(server.pid());
        let still = stop(server.pid());
        (server, still)
    };
    let (by_environment, _still) = server(&[]);
    backlog_is(&by_environment, 2);
    let (by_option, _still) = server(&["--backlog", "3"]);
    backlog_is(&by_option, 3);
}

/// Fills the queue of a server that does not accept, and sees one more left outside.
fn backlog_is(server: &Server, backlog: usize) {
    let _queue: Vec<_> = (0..=backlog).map(|_| connect(server.addr)).collect();
    wait_until("the queue to be full", || {
        listening(server.addr.port())[0].rx_queue == backlog as u64 + 1
    });

    let outside = socket2::Socket::new(AF_INET, SOCK_STREAM, None).unwrap();
    outside.set_nonblocking(true).unwrap();
    let why = outside.connect(&server.addr.into()).unwrap_err();
    assert_eq!(why.raw_os_error(), Some(libc::EINPROGRESS));
    let addr = outside.local_addr().unwrap().as_socket().unwrap();
    // SYN and SYN-ACK over loopback are done within connect, had there been room.
    assert_eq!(tcp_state(addr, server.addr), Some("SYN_SENT"));
    assert_eq!(tcp_state(server.addr, addr), None);
}

#[test]
fn s14_accept_takes_the_head_of_the_queue() {
    let (listenfd, servaddr) = bound();
    Listen(&listenfd, 8).unwrap();
    let clients: Vec<_> = (0..5).map(|_| connect(servaddr)).collect();
    for stream in &clients {
        let (connfd, cliaddr) = Accept(&listenfd).unwrap();
        assert_eq!(cliaddr, stream.local_addr().unwrap());
        assert_eq!(connfd.peer(), Some(cliaddr));
    }
}

#[test]
fn s15_a_socket_that_is_bound_only_refuses_connections() {
    let (listenfd, servaddr) = bound();
    let output = run(&mut tcpcli(servaddr));
    assert_eq!(output.code, Some(1));
    assert!(output.stdout.is_empty());
    let why = "Connection refused (os error 111)";
    let said = output.stderr;
    assert_eq!(said, format!("tcpcli: connect error: {servaddr}: {why}\n"));

    Listen(&listenfd, 1).unwrap();
    TcpStream::connect(servaddr).unwrap();
}

#[test]
fn s16_the_connected_socket_takes_its_options_from_the_listening_one() {
    let (listenfd, servaddr) = bound();
    Setsockopt(&listenfd, sockopt::KeepAlive, &true).unwrap();
    Setsockopt(&listenfd, sockopt::TcpNoDelay, &true).unwrap();
    Listen(&listenfd, 1).unwrap();
    let _client = connect(servaddr);

    let (connfd, _) = Accept(&listenfd).unwrap();

    assert!(getsockopt(&connfd, sockopt::KeepAlive).unwrap());
    assert!(getsockopt(&connfd, sockopt::TcpNoDelay).unwrap());
}

#[test]
fn s16_the_keep_alive_timer_runs_for_each_connection_of_tcpserv() {
    let server = Server::start(&[]);
    let (stream, _) = server.client();
    let row = connection(server.addr, stream.local_addr().unwrap()).unwrap();
    assert_eq!(row.timer, 2, "the keep-alive timer");
    assert!(row.expires > Duration::ZERO);
}

/// TCP_INFO begins with the state.
fn tcp_info_state(sockfd: &Sockfd) -> &'static str {
    use std::os::fd::AsFd;
    let mut state = 0u8;
    let mut len: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `len` bytes, which `state` has.
    let got = unsafe {
        libc::getsockopt(
            sockfd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &mut len,
        )
    };
    assert_eq!(got, 0);
    STATES[state as usize]
}
