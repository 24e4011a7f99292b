//! Links that go down, and hosts that vanish or reboot.

use crate::common::*;
use crate::handshake::{client, server};
use crate::namespace::{self, ip, sysctl};
use crate::peer::{OTHER_HOST, Peer};

pub fn lines_typed_while_the_link_is_down_arrive_when_it_is_up_again() {
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
    // The first retransmission is sent after 0.2 s; then the interval doubles each time.
    wait_until("the first line to be retransmitted in vain", waits);
    ip("link set lo up");

    assert_eq!(client.next_output(22), b"during one\nduring two\n");
    client.ctrl_d_and_wait().succeeded(b"");
}

/// Makes the kernel send its first keepalive probe after a second, and give up after two probes.
fn keepalive_soon() {
    sysctl("tcp_keepalive_time", 1); // instead of 2 hours
    sysctl("tcp_keepalive_intvl", 1);
    sysctl("tcp_keepalive_probes", 2);
}

pub fn the_client_terminates_when_its_server_host_vanishes_or_reboots() {
    thread::scope(|scope| {
        for (has_ack, host, errno) in [
            (false, "silent", Errno::ETIMEDOUT),
            (true, "silent", Errno::ETIMEDOUT),
            (false, "rebooted", Errno::ECONNRESET),
            (true, "rebooted", Errno::ECONNRESET),
            (false, "gone from the link", Errno::EHOSTUNREACH),
        ] {
            scope.spawn(move || lose_the_server(has_ack, host, errno));
        }
    });
}

/// While tcpcli is blocked in Readline, the kernel sends keepalive probes if the line was
/// acknowledged, and otherwise retransmits the line.
fn lose_the_server(has_ack: bool, host: &str, errno: Errno) {
    namespace::enter().unwrap();
    keepalive_soon();
    sysctl("tcp_retries2", 3); // about 3 s instead of 15 minutes
    sysctl("neigh/veth0/retrans_time_ms", 100);
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    client.type_in(b"hello\n");
    server.accept();
    server.expect("ACK", 1, 1, b"hello\n");
    if has_ack {
        server.send("ACK", 1, 7, b"");
        server.expect("ACK", 6, 1, b""); // keepalive probe
    }
    match host {
        "rebooted" => server.send("RST", 1, 0, b""),
        // The peer does not reply to ARP requests.
        "gone from the link" => ip("neighbour del 192.0.2.2 dev veth0"),
        _ => (),
    }
    let said = format!("tcpcli: readline error: {}", reason(errno));
    client.wait().failed(&said);
}

pub fn keepalive_terminates_the_child_of_a_client_that_vanished() {
    keepalive_soon();
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    client.expect("ACK", 0, 1, b""); // keepalive probe, with the previous sequence number
    let (client, why) = (client.addr, reason(Errno::ETIMEDOUT));
    server.wait_line(&format!("tcpserv: {client}: str_echo: read error: {why}"));
    server.wait_children(0);
}
