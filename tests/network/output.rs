//! TCP输出: what happens to the bytes that write accepts.

use crate::common::*;
use crate::handshake::server;
use crate::namespace::sysctl;
use crate::peer::Peer;

pub fn w4_data_is_sent_in_segments_of_at_most_the_mss_that_the_peer_announced() {
    let loopback = fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
    assert_eq!(loopback, "65536\n"); // so a line fits into one segment over loopback
    let server = server(9877, &[]);
    let mut client = Peer::client(1500, server.addr);
    client.mss = 536;
    client.send("SYN", 0, 0, b"");
    client.expect("SYN ACK", 0, 1, b"");
    client.send("ACK", 1, 1, b"");
    let child = server.child_for(client.addr);
    wait_reading_socket(child);

    // Stop the child so that one read returns both segments and one write echoes them.
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

pub fn w5_data_is_kept_until_it_is_acknowledged_and_retransmitted_if_no_ack_arrives() {
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
    assert!(gap > Duration::from_millis(100), "after {gap:?}");
    client.kernel_state();
    assert_eq!(send_q(), 6);

    client.send("ACK", 7, 7, b"");
    wait_until("the ACK to empty the send buffer", || send_q() == 0);
    client.kernel_state();
}

pub fn a_second_small_echo_does_not_wait_for_the_ack_of_the_first() {
    sysctl("tcp_early_retrans", 0); // a loss probe would also send the second echo
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    server.child_for(client.addr);
    client.send("ACK", 1, 1, b"a");
    client.expect("ACK", 1, 2, b"");
    client.expect("ACK", 1, 2, b"a");
    client.send("ACK", 2, 1, b"b"); // without TCP_NODELAY, the echo would wait
    // On a busy machine a bare ACK, or the first echo again, may arrive before the second echo.
    while client.next().data != b"b" {}
}
