//! TCP状态转换图: simultaneous open and simultaneous close.

use crate::common::*;
use crate::handshake::client;
use crate::peer::{OTHER_HOST, Peer};

/// Starts tcpcli and answers its SYN with a SYN, which moves the client to SYN_RCVD.
fn simultaneous_open() -> (Peer, Program) {
    let mut server = Peer::server();
    let client = client(&[], OTHER_HOST);
    server.expect_syn();
    assert_eq!(server.kernel_state(), Some("SYN_SENT"));

    server.send("SYN", 0, 0, b"");

    server.expect("SYN ACK", 0, 1, b"");
    assert_eq!(server.kernel_state(), Some("SYN_RCVD"));
    (server, client)
}

pub fn a7_simultaneous_open_goes_from_syn_sent_through_syn_rcvd_to_established() {
    let (mut server, mut client) = simultaneous_open();

    server.send("ACK", 1, 1, b"");

    server.wait_kernel_state("ESTABLISHED");
    wait_reading_input(client.pid()); // so connect has returned
    client.type_in(b"hello\n");
    server.expect("ACK", 1, 1, b"hello\n");
    server.send("ACK", 1, 7, b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");
}

pub fn a11_a_client_that_is_killed_in_syn_rcvd_sends_a_fin() {
    let (mut server, client) = simultaneous_open();

    signal(client.pid(), Signal::SIGKILL);

    server.expect("FIN ACK", 1, 1, b"");
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));
}

pub fn a15_a17_simultaneous_close_goes_from_fin_wait_1_through_closing_to_time_wait() {
    let mut server = Peer::server();
    let mut client = client(&["--trace"], OTHER_HOST);
    server.accept();
    client.ctrl_d();
    server.expect("FIN ACK", 1, 1, b"");
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));

    server.send("FIN ACK", 1, 1, b""); // does not acknowledge the client's FIN

    server.expect("ACK", 2, 2, b"");
    server.wait_kernel_state("CLOSING");
    let said = client.wait().stderr;
    assert!(said.contains("CLOSING"), "{said}"); // the trace shows the state

    server.send("ACK", 2, 2, b"");

    server.wait_kernel_state("TIME_WAIT");
}
