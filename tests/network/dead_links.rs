//! Links that are cut, and hosts that vanish or forget.

use crate::common::*;
use crate::handshake::{client, server};
use crate::namespace::{ip, sysctl};
use crate::peer::{OTHER_HOST, Peer};

/// Asserts that a tcpcli ends with this error.
#[track_caller]
fn ends_with(mut client: Program, call: &str, errno: Errno) {
    let why = reason(errno);
    client.wait().failed(&format!("tcpcli: {call}{why}"));
}

pub fn lines_typed_during_a_cut_of_a_second_arrive_after_it() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    client.type_in(b"before\n");
    assert_eq!(client.next_output(7), b"before\n");

    ip("link set lo down");
    client.type_in(b"during one\nduring two\n");
    let waits = || {
        let row = connection_of(client.pid()).unwrap();
        let keepalive = row.timer == 2;
        row.tx_queue == 11 && !keepalive && row.expires > Duration::from_secs(1)
    };
    // It waits 0.2 s before it sends it again, and each time twice as long.
    wait_until("the first line to be sent again in vain", waits);
    ip("link set lo up");

    assert_eq!(client.next_output(22), b"during one\nduring two\n");
    client.ctrl_d_and_wait().succeeded(b"");
}

/// A tcpcli that has sent a line.
fn client_with_a_line(server: &mut Peer) -> Program {
    let mut client = client(&[], OTHER_HOST);
    client.type_in(b"hello\n");
    server.accept();
    server.expect("ACK", 1, 1, b"hello\n");
    client
}

/// A tcpcli sleeps in Readline. If its line has its ACK, keepalive asks; else the line is sent again.
pub fn a_host_that_vanishes_or_reboots_ends_the_client() {
    sysctl("tcp_retries2", 3); // after some 3 s instead of 15 minutes
    keepalive_soon(3); // after some 4 s instead of 2 hours
    for (has_ack, reboots, errno) in [
        (false, false, Errno::ETIMEDOUT),
        (true, false, Errno::ETIMEDOUT),
        (false, true, Errno::ECONNRESET),
        (true, true, Errno::ECONNRESET),
    ] {
        let mut server = Peer::server();
        let client = client_with_a_line(&mut server);
        if has_ack {
            server.send("ACK", 1, 7, b"");
            server.expect("ACK", 6, 1, b""); // keepalive's probe
        }
        if reboots {
            server.send("RST", 1, 0, b"");
        }
        ends_with(client, "readline error: ", errno);
    }
}

/// Keepalive asks after a second, and so often each second.
fn keepalive_soon(probes: u32) {
    sysctl("tcp_keepalive_time", 1);
    sysctl("tcp_keepalive_intvl", 1);
    sysctl("tcp_keepalive_probes", probes);
}

pub fn a_host_that_vanishes_from_the_same_link_has_no_route() {
    sysctl("tcp_retries2", 3);
    sysctl("neigh/veth0/retrans_time_ms", 100);
    let mut server = Peer::server();
    let client = client_with_a_line(&mut server);
    // Nobody answers who has the address: the peer speaks no ARP.
    ip("neighbour del 192.0.2.2 dev veth0");

    ends_with(client, "readline error: ", Errno::EHOSTUNREACH);
}

pub fn a8_a_server_that_does_not_answer_a_syn_ends_the_client() {
    sysctl("tcp_syn_retries", 1);
    let mut server = Peer::server();
    let client = client(&[], OTHER_HOST);
    server.expect_syn();
    assert_eq!(server.kernel_state(), Some("SYN_SENT"));

    ends_with(client, "connect error: 192.0.2.2:9877: ", Errno::ETIMEDOUT);

    server.expect("SYN", 0, 0, b""); // sent again
    server.expect_gone();
}

pub fn keepalive_ends_the_child_of_a_client_that_vanished() {
    keepalive_soon(1);
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);

    // The probe: the last number again, without data.
    client.expect("ACK", 0, 1, b"");

    let said = server.wait_said("error");
    let why = reason(Errno::ETIMEDOUT);
    assert_eq!(
        said,
        format!("tcpserv: {}: str_echo: read error: {why}", client.addr)
    );
    server.wait_children(0);
}
