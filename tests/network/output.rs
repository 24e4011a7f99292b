//! TCP输出: what becomes of the bytes that write has taken.

use crate::common::*;
use crate::handshake::server;
use crate::namespace::sysctl;
use crate::peer::Peer;

pub fn w4_data_goes_in_pieces_of_at_most_the_mss_that_the_peer_named() {
    let loopback = fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
    assert_eq!(loopback, "65536\n"); // so a line is one segment there
    let server = server(9877, &[]);
    let mut client = Peer::client(1500, server.addr);
    client.mss = 536;
    client.send("SYN", 0, 0, b"");
    client.expect("SYN ACK", 0, 1, b"");
    client.send("ACK", 1, 1, b"");
    let child = server.child_for(client.addr);
    wait_reading_socket(child);

    // Stopped, so that one read takes both segments, and one write sends them back.
    let stopped = stop(child);
    let text: Vec<u8> = (0..1500).map(|n| n as u8).collect();
    client.send("ACK", 1, 1, &text[..1000]);
    client.expect("ACK", 1, 1001, b"");
    client.send("ACK", 1001, 1, &text[1000..]);
    client.expect("ACK", 1, 1501, b"");
    stopped.go_on();

    client.expect("ACK", 1, 1501, &text[..536]);
    client.expect("ACK", 537, 1501, &text[536..1072]);
    client.expect("ACK", 1073, 1501, &text[1072..]); // 428 bytes
}

pub fn w5_what_was_sent_is_kept_until_it_is_acknowledged_and_sent_again() {
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    let child = server.child_for(client.addr);
    let cliaddr = client.addr;
    let send_q = || connection(server.addr, cliaddr).unwrap().tx_queue;

    client.send("ACK", 1, 1, b"hello\n");
    client.expect("ACK", 1, 7, b"");
    client.remark = "(lost)";
    let first = client.expect("ACK", 1, 7, b"hello\n");
    wait_reading_socket(child); // write has returned
    client.kernel_state();
    assert_eq!(send_q(), 6);

    client.remark = "(retransmitted)";
    let again = client.expect("ACK", 1, 7, b"hello\n");
    let gap = again.time - first.time;
    assert!(gap > Duration::from_millis(100), "again after {gap:?}");
    client.kernel_state();
    assert_eq!(send_q(), 6);

    client.send("ACK", 7, 7, b"");
    wait_until("the ACK to empty the send buffer", || send_q() == 0);
    client.kernel_state();
}

pub fn a_second_small_echo_does_not_wait_for_the_ack_of_the_first() {
    sysctl("tcp_early_retrans", 0); // no loss probe: it would send the second echo, too
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    server.child_for(client.addr);
    client.send("ACK", 1, 1, b"a");
    client.expect("ACK", 1, 2, b"");
    client.expect("ACK", 1, 2, b"a");
    client.send("ACK", 2, 1, b"b"); // its echo would wait without TCP_NODELAY
    // On a busy machine an ACK alone, or the first echo once more, may come before it.
    while client.next().data != b"b" {}
}
