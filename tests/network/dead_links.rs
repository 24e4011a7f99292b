//! Links that are cut, and hosts that vanish or forget.

use crate::common::*;
use crate::handshake::{client, server};
use crate::namespace::{self, ip, sysctl};
use crate::peer::{OTHER_HOST, Peer};

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

/// Keepalive asks after a second, and twice more.
fn keepalive_soon() {
    sysctl("tcp_keepalive_time", 1); // instead of 2 hours
    sysctl("tcp_keepalive_intvl", 1);
    sysctl("tcp_keepalive_probes", 2);
}

pub fn a_host_that_vanishes_or_reboots_ends_the_client() {
    thread::scope(|scope| {
        for (has_ack, host, errno) in [
            (false, "silent", Errno::ETIMEDOUT),
            (true, "silent", Errno::ETIMEDOUT),
            (false, "rebooted", Errno::ECONNRESET),
            (true, "rebooted", Errno::ECONNRESET),
            (false, "gone from the link", Errno::EHOSTUNREACH),
        ] {
            scope.spawn(move || ends_the_client(has_ack, host, errno));
        }
    });
}

/// A tcpcli sleeps in Readline. If its line has its ACK, keepalive asks; else the line is sent again.
fn ends_the_client(has_ack: bool, host: &str, errno: Errno) {
    namespace::enter().unwrap();
    keepalive_soon();
    sysctl("tcp_retries2", 3); // some 3 s instead of 15 minutes
    sysctl("neigh/veth0/retrans_time_ms", 100);
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    client.type_in(b"hello\n");
    server.accept();
    server.expect("ACK", 1, 1, b"hello\n");
    if has_ack {
        server.send("ACK", 1, 7, b"");
        server.expect("ACK", 6, 1, b""); // keepalive's probe
    }
    match host {
        "rebooted" => server.send("RST", 1, 0, b""),
        // Nobody answers who has the address: the peer speaks no ARP.
        "gone from the link" => ip("neighbour del 192.0.2.2 dev veth0"),
        _ => (),
    }
    let said = format!("tcpcli: readline error: {}", reason(errno));
    client.wait().failed(&said);
}

pub fn keepalive_ends_the_child_of_a_client_that_vanished() {
    keepalive_soon();
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    client.expect("ACK", 0, 1, b""); // the probe: the last number again, without data
    let (client, why) = (client.addr, reason(Errno::ETIMEDOUT));
    server.wait_line(&format!("tcpserv: {client}: str_echo: read error: {why}"));
    server.wait_children(0);
}
