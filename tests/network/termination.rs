//! 正常终止, 四次挥手, TIME_WAIT状态: the segments that end a connection, and what comes
//! after them.

use crate::common::*;
use crate::handshake::{client, server};
use crate::namespace::sysctl;
use crate::peer::{OTHER_HOST, Peer};

pub fn w7_the_server_sends_data_after_the_clients_fin() {
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    let stopped = stop(server.child_for(client.addr));
    client.send("ACK", 1, 1, b"last");
    client.expect("ACK", 1, 5, b"");
    client.send("FIN ACK", 5, 1, b"");
    client.expect("ACK", 1, 6, b"");

    stopped.go_on();

    client.expect("ACK", 1, 6, b"last");
    client.expect("FIN ACK", 5, 6, b"");
}

/// A tcpcli that has ended, at the end of its input; the other host has its FIN.
fn ended_client() -> Peer {
    let mut server = Peer::server();
    let mut client = client(&[], OTHER_HOST);
    server.accept();
    client.type_in(b"hello\n");
    server.expect("ACK", 1, 1, b"hello\n");
    server.send("ACK", 1, 7, b"hello\n");
    server.expect("ACK", 7, 7, b"");
    assert_eq!(server.kernel_state(), Some("ESTABLISHED"));
    assert_eq!(client.ctrl_d_and_wait().code, Some(0));
    server.expect("FIN ACK", 7, 7, b"");
    server
}

pub fn w8_a14_time_wait_answers_a_second_fin_with_the_last_ack_again() {
    let mut server = ended_client();
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));
    server.send("FIN ACK", 7, 8, b"");
    server.remark = "(lost)";
    server.expect("ACK", 8, 8, b"");
    server.wait_kernel_state("TIME_WAIT");

    // As if that ACK were lost:
    server.remark = "(retransmitted)";
    server.send("FIN ACK", 7, 8, b"");

    server.expect("ACK", 8, 8, b"");
    assert_eq!(server.kernel_state(), Some("TIME_WAIT"));
}

pub fn w8_a18_a19_the_server_sends_its_fin_again_until_the_last_ack_comes() {
    let server = server(9877, &["--trace"]);
    let mut client = Peer::connected(1500, server.addr);
    let stopped = stop(server.child_for(client.addr));
    client.send("FIN ACK", 1, 1, b"");
    client.expect("ACK", 1, 2, b"");
    client.wait_kernel_state("CLOSE_WAIT");

    stopped.go_on();

    client.remark = "(its ACK is lost)";
    let fin = client.expect("FIN ACK", 1, 2, b"");
    assert_eq!(client.kernel_state(), Some("LAST_ACK"));
    client.remark = "(retransmitted)";
    let again = client.expect("FIN ACK", 1, 2, b"");
    assert!(again.time - fin.time > Duration::from_millis(100));
    assert_eq!(client.kernel_state(), Some("LAST_ACK"));
    server.wait_said("LAST_ACK"); // the trace has time to see it

    client.send("ACK", 2, 2, b"");
    client.expect_gone();
}

pub fn a10_a13_fin_wait_2_of_a_client_that_has_exited_ends_after_tcp_fin_timeout() {
    let by_default = fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout");
    assert_eq!(by_default.unwrap(), "60\n"); // seconds
    sysctl("tcp_fin_timeout", 3);
    let mut server = ended_client(); // ESTABLISHED, and then it has closed
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));
    server.send("ACK", 7, 8, b"");
    server.wait_kernel_state("FIN_WAIT_2");
    let left = connection(server.kernel, server.addr).unwrap().expires;
    assert!(left <= Duration::from_secs(3), "{left:?}");
    server.expect_gone(); // no FIN has come, and no TIME_WAIT
}

pub fn h1_after_a_close_data_is_answered_with_a_reset() {
    let mut server = ended_client();
    server.send("ACK", 7, 8, b"more\n");
    server.expect("RST", 8, 0, b"");
}

pub fn w9_an_old_duplicate_in_time_wait_is_discarded() {
    let mut server = ended_client();
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b"");

    server.remark = "(old duplicate)";
    server.send("ACK", 1, 7, b"hello\n");

    // The answer says only what the connection has had.
    server.expect("ACK", 8, 8, b"");
    assert_eq!(server.kernel_state(), Some("TIME_WAIT"));
}

pub fn w10_the_end_in_time_wait_starts_no_new_incarnation() {
    sysctl("ip_local_port_range", "1500 1500");
    let mut server = ended_client();
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b"");

    let ended = run(&mut tcpcli(server.addr));

    let why = reason(Errno::EADDRNOTAVAIL);
    ended.failed(&format!("tcpcli: connect error: 192.0.2.2:9877: {why}"));
    show(ended.stderr.trim_end());
    server.remark = "(retransmitted)";
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b""); // and no SYN before it
}

pub fn w10_over_loopback_the_end_in_time_wait_starts_one_after_a_second() {
    sysctl("tcp_tw_reuse", 2); // the default: over loopback only
    sysctl("ip_local_port_range", "1500 1500");
    let server = Server::spawn(&mut tcpserv("127.0.0.1", 9877));
    let (mut client, _) = server.tcpcli();
    let addr = client.addr();
    client.ctrl_d_and_wait().succeeded(b"");
    wait_state(addr, server.addr, "TIME_WAIT");
    let refused = reason(Errno::EADDRNOTAVAIL);
    let refused = format!("tcpcli: connect error: {}: {refused}", server.addr);

    // A deadline is shorter than TIME_WAIT. After a new incarnation that started at once, it begins again.
    let mut is_refused = false;
    wait_until("a refusal, and then a new incarnation", || {
        let ended = run(&mut tcpcli(server.addr));
        if ended.code == Some(0) {
            show("a new incarnation");
            return is_refused;
        }
        ended.failed(&refused);
        is_refused = is_refused || {
            show(&refused);
            true
        };
        false
    });
}

pub fn w10_in_time_wait_a_syn_that_may_be_old_is_refused_and_a_newer_one_is_taken() {
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    signal(server.child_for(client.addr), Signal::SIGKILL); // so the server's end closes first
    client.expect("FIN ACK", 1, 1, b"");
    client.send("FIN ACK", 1, 2, b"");
    client.expect("ACK", 2, 2, b"");
    assert_eq!(client.kernel_state(), Some("TIME_WAIT"));

    client.isn += 1;
    client.remark = "(its sequence number may be old)";
    client.send("SYN", 0, 0, b"");
    // The old connection's ACK: it has had everything up to 2, seen from the new SYN 1.
    client.expect("ACK", 2, 1, b"");
    assert_eq!(client.kernel_state(), Some("TIME_WAIT"));

    client.isn += 2; // the first number that the old connection has not had
    client.remark = "(its sequence number is newer)";
    client.send("SYN", 0, 0, b"");
    client.expect("SYN ACK", 0, 1, b"");
    client.send("ACK", 1, 1, b"");
    client.wait_kernel_state("ESTABLISHED");
    client.send("ACK", 1, 1, b"new\n");
    client.expect("ACK", 1, 5, b"");
    client.expect("ACK", 1, 5, b"new\n");
}

/// One client waits for its echo, the other one sleeps in Fgets.
pub fn a9_when_the_parent_is_killed_the_clients_in_its_queue_get_a_reset() {
    let server = Server::start(&[]);
    let _stopped = server.stop_accepting();
    let mut waits = Program::tcpcli(server.addr, &[]);
    let first = waits.addr();
    let mut sleeps = Program::tcpcli(server.addr, &[]);
    let second = sleeps.addr();
    waits.type_in(b"hello\n");
    wait_received(server.addr, first, 6);
    wait_until("both in the queue", || queued(server.addr.port()) == 2);

    server.end(Signal::SIGKILL);

    for addr in [first, second] {
        wait_state(server.addr, addr, None);
        wait_state(addr, server.addr, None);
    }
    assert!(listening(server.addr.port()).is_empty(), "CLOSED");
    sleeps.type_in(b"hello?\n");
    for (mut client, call) in [(waits, "readline"), (sleeps, "writen")] {
        let why = "Connection reset by peer (os error 104)";
        let said = format!("tcpcli: {call} error: {why}");
        client.wait().failed(&said);
    }
}
