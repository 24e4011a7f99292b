//! When things go wrong: a client, a child or the parent dies. A client's fault ends only its
//! own connection.

mod common;

use common::*;

/// Asserts that the server still serves a client, and a new one.
fn serves(server: &Server, other: &mut TcpStream) {
    for stream in [other, &mut connect(server.addr)] {
        assert_eq!(echo(stream, b"hello\n"), b"hello\n");
    }
}

/// Resets a client's connection. Its child says which call has failed, and exits with status 1.
fn reset_is_reported(server: &Server, stream: TcpStream, child: Pid, call: &str) {
    let client = stream.local_addr().unwrap();
    let mut other = connect(server.addr);
    let stopped = server.stop_accepting(); // so that the child stays a zombie

    reset(stream);

    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    stopped.go_on();
    let why = reason(Errno::ECONNRESET);
    server.wait_line(&format!("tcpserv: {client}: {call} error: {why}"));
    wait_until("the child to be reaped", || gone(child));
    serves(server, &mut other);
}

#[test]
fn a_reset_inside_a_line_ends_one_child_with_a_message_and_status_1() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    assert_eq!(echo(&mut stream, b"half a li"), b"half a li");
    wait_reading_socket(child);
    reset_is_reported(&server, stream, child, "str_echo: read");
}

#[test]
fn a_reset_while_the_echo_is_written_ends_one_child_with_a_message() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    fill(&mut stream);
    wait_writing_socket(child);
    reset_is_reported(&server, stream, child, "writen");
}

#[test]
fn a_client_that_is_killed_ends_like_any_other() {
    let server = Server::start(&[]);
    let (client, child) = server.tcpcli();
    let stopped = server.stop_accepting(); // so that the child stays a zombie
    signal(client.pid(), Signal::SIGKILL); // the kernel sends the FIN
    assert_eq!(zombie_status(child), 0);
    stopped.go_on();
    wait_until("the child to be reaped", || gone(child));
    assert!(server.said().is_empty());
}

/// What its client sees is c7_ in client.rs.
#[test]
fn a_child_that_is_killed_is_reported_and_so_is_its_end_to_its_client() {
    let server = Server::start(&[]);
    let mut other = connect(server.addr);
    for (how, name) in [
        (Signal::SIGKILL, "9 (SIGKILL)"),
        (Signal::SIGTERM, "15 (SIGTERM)"),
    ] {
        let (mut stream, child) = server.client();
        signal(child, how);
        server.wait_line(&format!(
            "tcpserv: child {child} was killed, signal: {name}"
        ));
        assert_eq!(rest(&mut stream), b"");
    }
    serves(&server, &mut other);
    assert_eq!(server.said().len(), 2);
}

/// The port stays this test's: for port 0 the kernel takes none that has a connection.
#[test]
fn when_the_parent_is_killed_its_children_serve_on_and_a_new_server_can_start() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();

    server.end(Signal::SIGTERM);

    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    let again = Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    serves(&again, &mut stream);
    drop(stream);
    wait_until("the child to end", || ended(child));
}
