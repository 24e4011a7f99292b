//! 正常终止, 四次挥手, TIME_WAIT状态: the segments that close a connection, and what follows.

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

/// Runs tcpcli to the end of its input, and returns the server after the client's FIN arrives.
fn exited_client() -> Peer {
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

pub fn w8_a14_in_time_wait_a_retransmitted_fin_is_acknowledged_again() {
    let mut server = exited_client();
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));
    server.send("FIN ACK", 7, 8, b"");
    server.remark = "(lost)";
    server.expect("ACK", 8, 8, b"");
    server.wait_kernel_state("TIME_WAIT");

    // Retransmit the FIN as if the ACK had been lost.
    server.remark = "(retransmitted)";
    server.send("FIN ACK", 7, 8, b"");

    server.expect("ACK", 8, 8, b"");
    assert_eq!(server.kernel_state(), Some("TIME_WAIT"));
}

pub fn w8_a18_a19_the_server_retransmits_its_fin_until_the_last_ack_arrives() {
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
    server.wait_said("LAST_ACK"); // wait until the trace has seen this state

    client.send("ACK", 2, 2, b"");
    client.expect_gone();
}

pub fn a10_a13_after_the_client_exits_fin_wait_2_lasts_for_tcp_fin_timeout() {
    let by_default = fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout");
    assert_eq!(by_default.unwrap(), "60\n"); // seconds
    sysctl("tcp_fin_timeout", 3);
    let mut server = exited_client(); // closed while ESTABLISHED
    assert_eq!(server.kernel_state(), Some("FIN_WAIT_1"));
    server.send("ACK", 7, 8, b"");
    server.wait_kernel_state("FIN_WAIT_2");
    let left = connection(server.kernel, server.addr).unwrap().expires;
    assert!(left <= Duration::from_secs(3), "{left:?}");
    server.expect_gone(); // without a FIN from the server, and without TIME_WAIT
}

pub fn h1_data_that_arrives_after_a_close_is_answered_with_an_rst() {
    let mut server = exited_client();
    server.send("ACK", 7, 8, b"more\n");
    server.expect("RST", 8, 0, b"");
}

pub fn w9_an_old_duplicate_in_time_wait_is_discarded() {
    let mut server = exited_client();
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b"");

    server.remark = "(old duplicate)";
    server.send("ACK", 1, 7, b"hello\n");

    // The answer only repeats the last ACK.
    server.expect("ACK", 8, 8, b"");
    assert_eq!(server.kernel_state(), Some("TIME_WAIT"));
}

pub fn w10_the_end_in_time_wait_does_not_start_a_new_incarnation() {
    sysctl("ip_local_port_range", "1500 1500");
    let mut server = exited_client();
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b"");

    let ended = run(&mut tcpcli(server.addr));

    let why = reason(Errno::EADDRNOTAVAIL);
    ended.failed(&format!("tcpcli: connect error: 192.0.2.2:9877: {why}"));
    show(ended.stderr.trim_end());
    server.remark = "(retransmitted)";
    server.send("FIN ACK", 7, 8, b"");
    server.expect("ACK", 8, 8, b""); // and no SYN precedes this ACK
}

pub fn w10_over_loopback_a_new_incarnation_can_start_after_a_second() {
    sysctl("tcp_tw_reuse", 2); // the default: over loopback only
    sysctl("ip_local_port_range", "1500 1500");
    let server = Server::spawn(&mut tcpserv("127.0.0.1", 9877));
    let (mut client, _) = server.tcpcli();
    let addr = client.addr();
    client.ctrl_d_and_wait().succeeded(b"");
    wait_state(addr, server.addr, "TIME_WAIT");
    let refused = reason(Errno::EADDRNOTAVAIL);
    let refused = format!("tcpcli: connect error: {}: {refused}", server.addr);

    // The deadline is shorter than TIME_WAIT. If a second has already passed, the new incarnation
    // enters TIME_WAIT, and the next attempt is refused.
    let mut is_refused = false;
    wait_until("a refusal followed by a new incarnation", || {
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

pub fn w10_in_time_wait_a_newer_syn_is_accepted_but_not_one_that_may_be_old() {
    let server = server(9877, &[]);
    let mut client = Peer::connected(1500, server.addr);
    signal(server.child_for(client.addr), Signal::SIGKILL); // the server performs the active close
    client.expect("FIN ACK", 1, 1, b"");
    client.send("FIN ACK", 1, 2, b"");
    client.expect("ACK", 2, 2, b"");
    assert_eq!(client.kernel_state(), Some("TIME_WAIT"));

    client.isn += 1;
    client.remark = "(the old initial number + 1: may be old)";
    client.send("SYN", 0, 0, b"");
    // In the old connection, the acknowledgment number is 2; relative to the new SYN, it is 1.
    client.expect("ACK", 2, 1, b"");
    assert_eq!(client.kernel_state(), Some("TIME_WAIT"));

    client.isn += 2; // the first sequence number that Linux accepts as newer
    client.remark = "(the old initial number + 3: newer)";
    client.send("SYN", 0, 0, b"");
    client.expect("SYN ACK", 0, 1, b"");
    client.send("ACK", 1, 1, b"");
    client.wait_kernel_state("ESTABLISHED");
    client.send("ACK", 1, 1, b"new\n");
    client.expect("ACK", 1, 5, b"");
    client.expect("ACK", 1, 5, b"new\n");
}

/// One client is waiting for its echo, and the other is blocked in Fgets.
pub fn a9_when_the_parent_is_killed_the_clients_in_its_queue_receive_an_rst() {
    let server = Server::start(&[]);
    let _stopped = server.stop_accepting();
    let mut waiting = Program::tcpcli(server.addr, &[]);
    let first = waiting.addr();
    let mut idle = Program::tcpcli(server.addr, &[]);
    let second = idle.addr();
    waiting.type_in(b"hello\n");
    wait_received(server.addr, first, 6);
    wait_until("both to be queued", || queued(server.addr.port()) == 2);

    server.end(Signal::SIGKILL);

    for addr in [first, second] {
        wait_state(server.addr, addr, None);
        wait_state(addr, server.addr, None);
    }
    assert!(listening(server.addr.port()).is_empty(), "still listening");
    idle.type_in(b"hello?\n");
    for (mut client, call) in [(waiting, "readline"), (idle, "writen")] {
        let why = "Connection reset by peer (os error 104)";
        let said = format!("tcpcli: {call} error: {why}");
        client.wait().failed(&said);
    }
}
