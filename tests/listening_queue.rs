//! listen函数: the LISTEN state, and the completed connection queue.

mod common;

use common::*;
use nix::sys::socket::{self, SockaddrStorage, getsockopt, sockopt};
use std::os::fd::AsRawFd;
use unp::*;

fn bound() -> (Sockfd, SocketAddr) {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
    Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
    let servaddr = Getsockname(&listenfd).unwrap();
    (listenfd, servaddr)
}

#[test]
fn s11_s12_a_connection_is_complete_before_accept_and_its_data_is_queued_and_echoed_later() {
    let server = Server::start(&[]);
    let stopped = server.stop_accepting();

    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    stream.write_all(b"early bird\n").unwrap();

    wait_received(server.addr, client, 11);
    let row = connection(server.addr, client).unwrap();
    // No process has a descriptor for the connection yet.
    assert_eq!((row.state, row.inode), ("ESTABLISHED", 0));
    show_queue(server.addr.port());
    assert_eq!(queued(server.addr.port()), 1);

    stopped.go_on();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"early bird\n");
    show_queue(server.addr.port());
    assert_eq!(queued(server.addr.port()), 0);
}

#[test]
fn s12_more_data_than_the_receive_buffer_holds_waits_at_the_client_and_none_is_lost() {
    let server = Server::start(&[]);
    let stopped = server.stop_accepting();
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();

    let sent = fill(&mut stream) as u64;

    // Window probes may still move some bytes from one queue to the other.
    wait_until("the rest to wait at the client", || {
        let at_server = connection(server.addr, client).unwrap().rx_queue;
        let at_client = connection(client, server.addr).unwrap().tx_queue;
        at_server > 0 && at_client > 0 && at_server + at_client == sent
    });
    show_state(server.addr, client);
    show_state(client, server.addr);

    stopped.go_on();
    let echoed = read_bytes(&mut stream, sent as usize);
    assert!(echoed.iter().all(|&byte| byte == b'x'));
    show(format_args!("all {sent} bytes came back"));
}

#[test]
fn s13_the_queue_holds_backlog_plus_one_connections_on_linux() {
    for (args, listenq, backlog) in [
        (&["--backlog", "0"][..], None, 0),
        (&["--backlog", "4"], None, 4),
        (&[], Some("2"), 2),
        (&["--backlog", "3"], Some("2"), 3),
    ] {
        let mut command = tcpserv("127.0.0.1", 0);
        let server = Server::spawn(command.args(args).envs(listenq.map(|n| ("LISTENQ", n))));
        let _stopped = server.stop_accepting();
        let _queue: Vec<_> = (0..=backlog).map(|_| connect(server.addr)).collect();
        let is_full = || queued(server.addr.port()) == backlog + 1;
        wait_until("a full queue", is_full);
        show(format_args!("backlog {backlog}:"));
        show_queue(server.addr.port());

        let outside = socket2::Socket::new(AF_INET, SOCK_STREAM, None).unwrap();
        outside.set_nonblocking(true).unwrap();
        let why = outside.connect(&server.addr.into()).unwrap_err();
        assert_eq!(why.raw_os_error(), Some(libc::EINPROGRESS));
        let addr = outside.local_addr().unwrap().as_socket().unwrap();
        // Over loopback, the SYN ACK would already have arrived if the queue had room.
        assert_eq!(show_state(addr, server.addr), Some("SYN_SENT"));
        assert_eq!(show_state(server.addr, addr), None);
    }
}

#[test]
fn s14_accept_takes_the_head_of_the_queue() {
    let (listenfd, servaddr) = bound();
    Listen(&listenfd, 8).unwrap();
    let clients = [(); 5].map(|()| connect(servaddr));
    for stream in &clients {
        show_queue(servaddr.port());
        let (_, cliaddr) = Accept(&listenfd).unwrap();
        show(format_args!("accept returned {cliaddr}"));
        assert_eq!(cliaddr, stream.local_addr().unwrap());
    }
}

#[test]
fn s15_a_socket_that_is_bound_but_does_not_listen_refuses_connections() {
    let (listenfd, servaddr) = bound();
    let ended = run(&mut tcpcli(servaddr));
    let why = reason(Errno::ECONNREFUSED);
    ended.failed(&format!("tcpcli: connect error: {servaddr}: {why}"));

    Listen(&listenfd, 1).unwrap();
    connect(servaddr);
}

#[test]
fn s16_the_connected_socket_inherits_the_options_of_the_listening_one() {
    let (listenfd, servaddr) = bound();
    Setsockopt(&listenfd, SO_KEEPALIVE, true).unwrap();
    Setsockopt(&listenfd, TCP_NODELAY, true).unwrap();
    Listen(&listenfd, 1).unwrap();
    let _client = connect(servaddr);

    let (connfd, _) = Accept(&listenfd).unwrap();

    let keep_alive = getsockopt(&connfd, sockopt::KeepAlive).unwrap();
    let no_delay = getsockopt(&connfd, sockopt::TcpNoDelay).unwrap();
    show(format_args!(
        "connfd: SO_KEEPALIVE {keep_alive}, TCP_NODELAY {no_delay}"
    ));
    assert!(keep_alive && no_delay);
}

#[test]
fn a21_a_listening_socket_can_neither_send_nor_connect_and_stays_in_listen() {
    let (listenfd, servaddr) = bound();
    Listen(&listenfd, 1).unwrap();
    let (peer, peer_addr) = bound();
    Listen(&peer, 1).unwrap();

    let sent = Writen(&listenfd, b"hello\n").unwrap_err();
    let connected = socket::connect(listenfd.0.as_raw_fd(), &SockaddrStorage::from(peer_addr));

    show(format_args!(
        "{sent:#}; connect: {connected:?}; {:?}",
        listening(servaddr.port())[0].state
    ));
    assert!(format!("{sent:#}").ends_with("Broken pipe (os error 32)"));
    assert_eq!(connected, Err(Errno::EISCONN));
    assert_eq!(listening(servaddr.port()).len(), 1, "still in LISTEN");
    connect(servaddr);
}
