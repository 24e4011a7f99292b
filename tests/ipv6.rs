//! Both programs with IPv6 addresses. Ignored where `::1` cannot be bound.

mod common;

use common::*;

fn main() {
    let bound = TcpListener::bind("[::1]:0").map(drop);
    let ignored = bound.err().map(|why| format!("bind to ::1: {why}"));
    machine::run(
        ignored,
        tests![s1_the_ipv6_wildcard_is_reached_by_ipv6_and_by_ipv4],
    );
}

fn s1_the_ipv6_wildcard_is_reached_by_ipv6_and_by_ipv4() {
    for (bind, ip) in [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")] {
        let server = Server::spawn(&mut tcpserv(bind, 0));
        let addr = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
        let client = Program::tcpcli(addr, &[]);
        client.feed(b"hello\n").succeeded(b"hello\n");
    }
}
