//! Scoped and IPv4-mapped IPv6 addresses, and running out of ephemeral ports.

use crate::common::trace::{place, told};
use crate::common::*;
use crate::namespace;
use crate::namespace::sysctl;
use nix::net::if_::if_nametoindex;

/// Starts tcpserv and tcpcli with addresses as users type them, and waits for the first echo.
fn start_both(bind: &str, connect: &str) -> (Server, Program) {
    let server = Server::spawn(tcpserv(bind, 0).arg("--trace"));
    let mut client = Command::new(TCPCLI);
    client.args(["--trace", connect, "-p", &server.addr.port().to_string()]);
    let mut client = Program::spawn(&mut client, Stdio::piped(), Stdio::piped());
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n", "{bind}, {connect}");
    (server, client)
}

/// The trace must never report a live connection as CLOSED.
pub fn s1_clients_connect_over_ipv4_and_ipv6_and_the_trace_shows_their_states() {
    namespace::ipv6().unwrap();
    let by_number = format!("fe80::1%{}", if_nametoindex("veth0").unwrap());
    for (bind, connect) in [
        ("::1", "::1"),
        ("::", "::1"),
        ("::", "127.0.0.1"),
        ("0.0.0.0", "::ffff:127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
        ("::", "::ffff:0.0.0.0"), // Linux connects to the local host
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fe80::1%veth0", "fe80::1%veth0"),
        (&by_number, "fe80::1%veth0"),
        ("::", &by_number),
    ] {
        let (server, mut client) = start_both(bind, connect);
        let child = server.children()[0];
        let ended = client.ctrl_d_and_wait();
        assert_eq!(ended.code, Some(0));
        server.wait_said("waitpid");

        let of_client = told(ended.stderr.lines(), client.pid());
        let connected = place(&of_client, "CLOSED: connect(*") + 1;
        let of_child = told(server.said(), child);
        let closes = place(&of_child, "* close(4)*");
        for (lines, last) in [
            (&of_client[connected..], "TIME_WAIT"),
            (&of_child[..closes], "CLOSE_WAIT"),
        ] {
            let has = |state| lines.iter().any(|what| what.starts_with(state));
            assert!(has("ESTABLISHED") && has(last), "{bind}: {lines:#?}");
            assert!(!has("CLOSED"), "{bind}: {lines:#?}");
        }
    }
}

pub fn connect_fails_when_the_ephemeral_ports_are_used_up() {
    let server = Server::start(&[]);
    sysctl("ip_local_port_range", "40000 40000");
    let first = Program::tcpcli(server.addr, &[]);
    first.addr(); // waits until the client is connected
    let why = reason(Errno::EADDRNOTAVAIL);
    run(&mut tcpcli(server.addr)).failed(&format!("tcpcli: connect error: {}: {why}", server.addr));
}
