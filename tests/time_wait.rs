//! TIME_WAIT状态: whose it is, what it keeps others from, how long it lasts.

mod common;

use common::*;
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn t1_the_end_that_closes_first_is_in_time_wait_normally_the_client() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    let addr = client.addr();

    client.ctrl_d_and_wait();

    wait_state(addr, server.addr, "TIME_WAIT");
    wait_state(server.addr, addr, None);
}

/// A server that closed first: its child was killed, then its client ended.
fn closed_first() -> (Server, SocketAddr) {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    signal(child, Signal::SIGKILL);
    wait_state(server.addr, addr, "FIN_WAIT_2");
    client.ctrl_d_and_wait();
    (server, addr)
}

#[test]
fn t1_the_server_is_in_time_wait_when_it_closes_first() {
    let (server, addr) = closed_first();
    wait_state(server.addr, addr, "TIME_WAIT");
    wait_state(addr, server.addr, None);
}

#[test]
fn t2_a_port_in_time_wait_cannot_be_bound_without_so_reuseaddr_and_can_with_it() {
    let (server, addr) = closed_first();
    wait_state(server.addr, addr, "TIME_WAIT");
    server.end(Signal::SIGTERM);
    assert!(listening(server.addr.port()).is_empty());

    let bind = |reuse| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(reuse).unwrap();
        socket.bind(&server.addr.into()).map_err(|why| why.kind())
    };
    assert_eq!(bind(false), Err(std::io::ErrorKind::AddrInUse));
    assert_eq!(bind(true), Ok(()));

    let again = Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    assert_eq!(again.addr, server.addr);
    assert_eq!(tcp_state(server.addr, addr), Some("TIME_WAIT"), "still");
}

#[test]
fn t3_time_wait_lasts_2msl_60_seconds_on_linux() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    let addr = client.addr();
    client.ctrl_d_and_wait();
    wait_state(addr, server.addr, "TIME_WAIT");

    let row = connection(addr, server.addr).unwrap();

    assert_eq!(row.timer, 3, "the timer of TIME_WAIT");
    let a_moment_ago = Duration::from_secs(50)..=Duration::from_secs(60);
    assert!(
        a_moment_ago.contains(&row.expires),
        "{:?} left",
        row.expires
    );
}
