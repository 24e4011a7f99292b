//! When things go wrong: a client, a child or the parent dies. A failing client affects only its
//! own connection.

mod common;

use common::*;

/// Asserts that the server still serves this client and a new client.
fn serves(server: &Server, other: &mut TcpStream) {
    for stream in [other, &mut connect(server.addr)] {
        assert_eq!(echo(stream, b"hello\n"), b"hello\n");
    }
}

#[test]
fn a_reset_from_a_client_with_unread_data_terminates_one_child_with_a_message() {
    let server = Server::start(&[]);
    let mut other = connect(server.addr);
    for call in ["str_echo: read", "writen"] {
        let (mut stream, child) = server.client();
        let client = stream.local_addr().unwrap();
        if call == "writen" {
            fill(&mut stream);
            wait_writing_socket(child);
        } else {
            stream.write_all(b"half a li").unwrap();
            wait_received(client, server.addr, 9);
            wait_reading_socket(child);
        }
        let stopped = server.stop_accepting(); // so that the child stays a zombie

        drop(stream);

        assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
        stopped.go_on();
        let why = reason(Errno::ECONNRESET);
        server.wait_line(&format!("tcpserv: {client}: {call} error: {why}"));
        wait_until("the child to be reaped", || gone(child));
        serves(&server, &mut other);
    }
}

#[test]
fn a_killed_client_disconnects_like_any_other() {
    let server = Server::start(&[]);
    let (client, child) = server.tcpcli();
    let stopped = server.stop_accepting(); // so that the child stays a zombie
    signal(client.pid(), Signal::SIGKILL); // the kernel sends the FIN
    assert_eq!(zombie_status(child), 0);
    stopped.go_on();
    wait_until("the child to be reaped", || gone(child));
    assert!(server.said().is_empty());
}

/// c7_ in client.rs shows how tcpcli reacts to end of file.
#[test]
fn a_killed_child_is_reported_and_its_client_gets_end_of_file() {
    let server = Server::start(&[]);
    let mut other = connect(server.addr);
    for (how, name) in [
        (Signal::SIGKILL, "9 (SIGKILL)"),
        (Signal::SIGTERM, "15 (SIGTERM)"),
        (Signal::SIGABRT, "6 (SIGABRT)"), // a panic in your own server
    ] {
        let (mut stream, child) = server.client();
        set_limit(child, Resource::CORE, 0);
        signal(child, how);
        let said = format!("tcpserv: child {child} was killed by signal: {name}");
        server.wait_line(&said);
        assert_eq!(rest(&mut stream), b"");
    }
    serves(&server, &mut other);
    assert_eq!(server.said().len(), 3);
}

/// No other test can get the port: for port 0, the kernel never picks a port with a connection.
#[test]
fn when_the_parent_is_killed_its_children_keep_serving_and_a_new_server_can_start() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();

    server.end(Signal::SIGTERM);

    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    let again = Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    serves(&again, &mut stream);
    drop(stream);
    wait_until("the child to exit", || ended(child));
}
