//! 三次握手, listen函数, connect函数: the segments that open a connection.

use crate::common::*;
use crate::namespace::sysctl;
use crate::peer::{KERNEL, OTHER_HOST, Peer};
use std::net::IpAddr;

/// Starts tcpserv at the kernel's end of the link.
pub fn server(port: u16, args: &[&str]) -> Server {
    Server::spawn(tcpserv(&KERNEL.to_string(), port).args(args))
}

/// Starts tcpcli, which connects to port 9877 on this host.
pub fn client(args: &[&str], host: impl Into<IpAddr>) -> Program {
    Program::tcpcli(SocketAddr::new(host.into(), 9877), args)
}

pub fn w1_a2_a6_connect_returns_when_the_servers_syn_arrives() {
    let mut server = Peer::server();
    let client = client(&["--trace"], OTHER_HOST);

    server.expect_syn();
    let connects = |line: &String| line.contains("\tCLOSED      connect(");
    wait_until("tcpcli to call connect on a CLOSED socket", || {
        client.said().iter().any(connects)
    });
    wait_asleep_in(libc::SYS_connect, client.pid(), "socket:");
    show_process(client.pid(), "blocked in connect");
    let state = || connection_of(client.pid()).unwrap().state;
    server.kernel_state();
    assert_eq!(state(), "SYN_SENT");

    server.send("SYN ACK", 0, 1, b"");

    server.expect("ACK", 1, 1, b"");
    wait_reading_input(client.pid());
    server.kernel_state();
    assert_eq!(state(), "ESTABLISHED");
}

pub fn a8_a_timeout_an_rst_or_sigkill_leads_from_syn_sent_to_closed() {
    sysctl("tcp_syn_retries", 1);
    for (event, errno) in [
        ("nothing", Some(Errno::ETIMEDOUT)),
        ("RST ACK", Some(Errno::ECONNREFUSED)),
        ("SIGKILL", None),
    ] {
        let mut server = Peer::server();
        let mut client = client(&[], OTHER_HOST);
        server.expect_syn();
        assert_eq!(server.kernel_state(), Some("SYN_SENT"));
        match event {
            "RST ACK" => server.send("RST ACK", 0, 1, b""),
            "SIGKILL" => signal(client.pid(), Signal::SIGKILL),
            _ => drop(server.expect("SYN", 0, 0, b"")), // retransmitted
        }
        if let Some(errno) = errno {
            let why = reason(errno);
            let said = format!("tcpcli: connect error: {}: {why}", server.addr);
            client.wait().failed(&said);
        }
        server.expect_gone();
    }
}

pub fn w2_a3_the_kernel_answers_a_syn_without_the_process_and_retransmits_the_answer() {
    let server = server(9877, &[]);
    let _stopped = server.stop_accepting();
    let mut client = Peer::client(1500, server.addr);
    assert_eq!(states(9877), ["LISTEN"]);

    client.send("SYN", 0, 0, b"");

    client.remark = "(no ACK is sent)";
    let first = client.expect("SYN ACK", 0, 1, b"");
    assert_eq!(client.kernel_state(), Some("SYN_RCVD"));
    assert_eq!(states(9877), ["LISTEN", "SYN_RCVD"]);
    client.remark = "(retransmitted)";
    let again = client.expect("SYN ACK", 0, 1, b"");
    let gap = again.time - first.time;
    assert!(gap > Duration::from_millis(500), "after {gap:?}");
    assert_eq!(client.kernel_state(), Some("SYN_RCVD"));
}

/// Returns the states of all sockets with this port at either end.
fn states(port: u16) -> Vec<&'static str> {
    connections(port).iter().map(|row| row.state).collect()
}

pub fn w1_w3_a4_an_entry_stays_in_syn_rcvd_until_the_third_segment_then_accept_returns() {
    let server = server(9877, &[]);
    let mut client = Peer::half_open(1500, server.addr);
    assert_eq!(client.kernel_state(), Some("SYN_RCVD"));
    wait_accepting(server.pid());
    assert!(server.children().is_empty());

    client.send("ACK", 1, 1, b"");

    client.wait_kernel_state("ESTABLISHED");
    wait_reading_socket(server.child_for(client.addr));
    client.send("ACK", 1, 1, b"hello\n");
    client.expect("ACK", 1, 7, b""); // the first segment since the SYN ACK
}

pub fn a5_an_rst_in_syn_rcvd_removes_the_entry_and_the_server_keeps_listening() {
    let server = server(9877, &[]);
    let mut client = Peer::half_open(1500, server.addr);
    assert_eq!(client.kernel_state(), Some("SYN_RCVD"));

    client.send("RST", 1, 0, b"");

    client.expect_gone();
    assert_eq!(states(9877), ["LISTEN"]);
    wait_accepting(server.pid());
    assert!(server.children().is_empty(), "accept returned");
}

pub fn w3_an_entry_is_dropped_after_a_timeout() {
    sysctl("tcp_synack_retries", 1);
    let server = server(9877, &[]);
    let mut client = Peer::half_open(1500, server.addr);
    assert_eq!(client.kernel_state(), Some("SYN_RCVD"));
    client.remark = "(retransmitted)";
    client.expect("SYN ACK", 0, 1, b"");

    client.expect_gone();
    assert!(server.children().is_empty(), "accept returned");
}

pub fn w12_the_kernel_chooses_the_source_address_from_the_routing_table() {
    for (host, source) in [
        ([192, 0, 2, 2], [192, 0, 2, 1]),
        ([198, 51, 100, 2], [198, 51, 100, 1]),
    ] {
        let mut server = Peer::server();
        server.addr.set_ip(host.into());
        let _client = client(&[], host);
        let syn = server.expect_syn();
        show(format_args!("the kernel chose source {}", syn.from.ip()));
        assert_eq!(syn.from.ip(), IpAddr::from(source));
    }
}
