//! TIME_WAIT状态: which end enters TIME_WAIT, what this state prevents, and how long it lasts.
//! (normal_termination.rs also tests T1.)

mod common;

use common::*;
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;

/// No other test can get the port: for port 0, the kernel never picks a port in TIME_WAIT.
#[test]
fn s9_t1_t2_the_port_of_a_server_that_closed_first_can_be_bound_only_with_so_reuseaddr() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_accepting(server.pid()); // so only the child still holds connfd
    signal(child, Signal::SIGKILL);
    wait_state(server.addr, addr, "FIN_WAIT_2"); // the FIN was sent
    client.ctrl_d_and_wait().succeeded(b"");
    wait_state(server.addr, addr, "TIME_WAIT");
    wait_state(addr, server.addr, None);
    server.end(Signal::SIGTERM);

    let bind = |reuse| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(reuse).unwrap();
        socket.bind(&server.addr.into()).map_err(|why| why.kind())
    };
    assert_eq!(bind(false), Err(ErrorKind::AddrInUse));
    assert_eq!(bind(true), Ok(()));
    show("bind without SO_REUSEADDR: address in use; with it: bound");

    Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    assert_eq!(show_state(server.addr, addr), Some("TIME_WAIT"), "still");
}

/// a20_ in load.rs waits until TIME_WAIT ends.
#[test]
fn t3_time_wait_lasts_2msl_60_seconds_on_linux() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    let stopped = stop(child);
    client.ctrl_d_and_wait();
    wait_state(addr, server.addr, "FIN_WAIT_2"); // a later ACK could end TIME_WAIT (RFC 1337)
    stopped.go_on();
    wait_state(addr, server.addr, "TIME_WAIT");

    let row = connection(addr, server.addr).unwrap();

    show(&row);
    assert_eq!(row.timer, 3, "the timer of TIME_WAIT");
    // The timer started at 60 s, at most DEADLINE ago.
    let left = Duration::from_secs(40)..=Duration::from_secs(60);
    assert!(left.contains(&row.expires), "{:?} left", row.expires);
}
