//! Links that are cut, hosts that vanish, and ways that lead nowhere.

use crate::common::*;
use crate::handshake::{client, server};
use crate::namespace::{ip, sysctl};
use crate::peer::{OTHER_HOST, Peer};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Asserts that a tcpcli ended with this error, about the other host.
#[track_caller]
fn ended_with(ended: Ended, call: &str, errno: Errno) {
    let why = reason(errno);
    let of_connect = if call == "connect" {
        "192.0.2.2:9877: "
    } else {
        ""
    };
    ended.failed(&format!("tcpcli: {call} error: {of_connect}{why}"));
}

/// A link that stays dead is given up on after some 0.6 s instead of 15 minutes.
fn give_up_soon() {
    sysctl("tcp_retries2", 1);
}

/// Keepalive asks after a second, and a second later a last time.
fn keepalive_soon() {
    sysctl("tcp_keepalive_time", 1);
    sysctl("tcp_keepalive_intvl", 1);
    sysctl("tcp_keepalive_probes", 1);
}

pub fn lines_typed_during_a_cut_of_a_second_arrive_after_it() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    client.type_in(b"before\n");
    assert_eq!(client.next_output(7), b"before\n");

    ip("link set lo down");
    client.type_in(b"during one\nduring two\n");
    let sent = || connection_of(client.pid()).unwrap().tx_queue;
    wait_until("the first line to be sent", || sent() == 11);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(sent(), 11, "no ACK comes");
    ip("link set lo up");

    assert_eq!(client.next_output(22), b"during one\nduring two\n");
    assert_eq!(client.ctrl_d_and_wait().code, Some(0));
}

pub fn a_link_cut_for_ever_ends_the_client() {
    give_up_soon();
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    server.accept();
    client.type_in(b"hello\n");
    server.expect("ACK", 1, 1, b"hello\n");

    ended_with(client.wait(), "readline", Errno::ETIMEDOUT);

    server.expect("ACK", 1, 1, b"hello\n"); // sent again
}

pub fn a_host_that_vanishes_from_the_same_link_has_no_route() {
    sysctl("tcp_retries2", 3);
    sysctl("neigh/veth0/retrans_time_ms", 100);
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    server.accept();
    // Nobody answers who has the address: the peer speaks no ARP.
    ip("neighbour del 192.0.2.2 dev veth0");
    client.type_in(b"hello\n");

    ended_with(client.wait(), "readline", Errno::EHOSTUNREACH);
}

pub fn a8_a_server_that_does_not_answer_a_syn_ends_the_client() {
    sysctl("tcp_syn_retries", 1);
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    server.expect_syn();
    assert_eq!(server.kernel_state(), Some("SYN_SENT"));

    ended_with(client.wait(), "connect", Errno::ETIMEDOUT);

    assert_eq!(server.kernel_state(), None);
    server.expect("SYN", 0, 0, b""); // sent again
    server.expect_only("SYN");
}

pub fn keepalive_ends_the_child_of_a_client_that_vanished() {
    keepalive_soon();
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    let child = server.child_for(client.addr);

    // The probe: the last number again, without data.
    client.expect("ACK", 0, 1, b"");

    let said = server.wait_said("error");
    let why = reason(Errno::ETIMEDOUT);
    let expected = format!("tcpserv: 192.0.2.2:1500: str_echo: read error: {why}");
    assert_eq!(said, expected);
    wait_until("the child to end", || gone(child));
}

pub fn a_server_host_that_has_rebooted_resets_the_client() {
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    server.accept();
    client.type_in(b"hello\n");
    server.expect("ACK", 1, 1, b"hello\n");
    server.send("RST", 1, 0, b"");

    ended_with(client.wait(), "readline", Errno::ECONNRESET);
}

pub fn a_server_host_that_has_rebooted_resets_the_client_with_batch() {
    let mut server = Peer::server();
    let mut client = client(&["--batch"], OTHER_HOST);
    server.accept();
    client.type_in(b"one\ntwo\n");
    client.ctrl_d();
    server.expect("ACK", 1, 1, b"one\ntwo\n");
    server.expect("FIN ACK", 9, 1, b"");
    server.send("ACK", 1, 10, b"one\n");
    server.expect("ACK", 10, 5, b"");
    server.send("RST", 5, 0, b"");

    let ended = client.wait();
    assert_eq!(ended.stdout, b"one\n");
    ended_with(ended, "readline", Errno::ECONNRESET);
}

/// A tcpcli whose line is acknowledged, and then the other host says nothing any more.
fn waits_for_an_echo(args: &[&str], host: &mut Peer) -> Program {
    keepalive_soon();
    let mut client = client(args, OTHER_HOST);
    host.accept();
    client.type_in(b"hello\n");
    host.expect("ACK", 1, 1, b"hello\n");
    host.send("ACK", 1, 7, b"");
    client
}

pub fn keepalive_finds_that_the_servers_host_has_vanished() {
    let mut server = Peer::server();
    let mut client = waits_for_an_echo(&[], &mut server);
    server.expect("ACK", 6, 1, b"");

    ended_with(client.wait(), "readline", Errno::ETIMEDOUT);
}

pub fn keepalive_finds_that_the_servers_host_has_forgotten_the_connection() {
    let mut server = Peer::server();
    let mut client = waits_for_an_echo(&[], &mut server);
    server.expect("ACK", 6, 1, b"");
    server.send("RST", 1, 0, b"");

    ended_with(client.wait(), "readline", Errno::ECONNRESET);
}

pub fn keepalive_finds_it_while_batch_waits_for_the_rest() {
    let mut server = Peer::server();
    let mut client = waits_for_an_echo(&["--batch"], &mut server);
    client.ctrl_d();
    server.expect("FIN ACK", 7, 1, b"");
    server.send("ACK", 1, 8, b"");
    server.expect("ACK", 7, 1, b"");
    server.send("RST", 1, 0, b"");

    ended_with(client.wait(), "readline", Errno::ECONNRESET);
}

pub fn each_kind_of_route_that_leads_nowhere_has_an_error_of_its_own() {
    for (route, errno) in [
        ("", Errno::ENETUNREACH),
        ("unreachable", Errno::EHOSTUNREACH),
        ("prohibit", Errno::EACCES),
        ("blackhole", Errno::EINVAL),
    ] {
        let host = Ipv4Addr::new(203, 0, 113, 1);
        if !route.is_empty() {
            ip(&format!("route replace {route} {host}"));
        }
        let mut client = client(&[], host);
        let ended = client.wait();
        let why = reason(errno);
        ended.failed(&format!("tcpcli: connect error: {host}:9877: {why}"));
    }
}
