//! 正常终止步骤: what happens from Ctrl-D on, step by step.

mod common;

use common::*;
use nix::sys::signal::Signal;

#[test]
fn n1_end_of_file_on_standard_input_makes_str_cli_return() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    wait_reading_input(client.pid());

    client.ctrl_d();

    // After str_cli the client only exits.
    assert_eq!(zombie_status(client.pid()), 0);
}

#[test]
fn n2_the_client_then_exits_with_status_0() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");

    client.ctrl_d();

    assert_eq!(zombie_status(client.pid()), 0);
    client.wait().succeeded(b"");
}

#[test]
fn n3_the_exit_sends_a_fin_then_the_server_is_in_close_wait_the_client_in_fin_wait_2() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    let stopped = stop(child);

    client.ctrl_d_and_wait();

    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_state(server.addr, addr, "CLOSE_WAIT");
    stopped.go_on();
    wait_state(addr, server.addr, "TIME_WAIT");
}

#[test]
fn n4_the_childs_read_returns_0_on_the_fin_and_str_echo_returns() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");
    wait_reading_socket(child);
    // The parent's figures grow by those of each child for which it has waited.
    let total = |name| io(child, name) + io(server.pid(), name);
    let (reads, bytes) = (total("syscr"), total("rchar"));

    client.ctrl_d();

    wait_until("the parent to wait for the child", || gone(child));
    assert_eq!(io(server.pid(), "syscr"), reads + 1, "one read more");
    assert_eq!(io(server.pid(), "rchar"), bytes, "it returned 0");
}

#[test]
fn n5_the_child_exits_with_status_0() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let stopped = stop(server.pid());

    client.ctrl_d_and_wait();

    assert_eq!(zombie_status(child), 0);
    stopped.go_on();
    wait_until("the parent to reap it", || gone(child));
    assert!(server.said().is_empty());
}

#[test]
fn n6_the_childs_exit_sends_its_fin_then_the_client_is_in_time_wait_the_server_gone() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();

    client.ctrl_d_and_wait();

    wait_until("the child to be gone", || gone(child));
    wait_state(addr, server.addr, "TIME_WAIT");
    wait_state(server.addr, addr, None);
}

#[test]
fn a_client_that_is_killed_terminates_its_connection_normally() {
    let server = Server::start(&[]);
    let (client, child) = server.tcpcli();
    let addr = client.addr();
    let stopped = stop(server.pid());

    signal(client.pid(), Signal::SIGKILL);

    assert_eq!(zombie_status(child), 0);
    stopped.go_on();
    wait_until("the child to be gone", || gone(child));
    wait_state(addr, server.addr, "TIME_WAIT");
    wait_state(server.addr, addr, None);
}

#[test]
fn one_line_is_one_write_and_one_read_on_each_side() {
    const LINES: u64 = 2000;
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    wait_reading_socket(child);
    wait_reading_input(client.pid());
    let before = |pid| ["syscr", "syscw"].map(|figure| io(pid, figure));
    let (client_before, child_before) = (before(client.pid()), before(child));

    // A pipe holds them all, so the client reads them in a few pieces.
    let input = lines(LINES);
    client.type_in(input.as_bytes());
    assert_eq!(client.next_output(input.len()), input.as_bytes());
    wait_reading_socket(child);
    wait_reading_input(client.pid());

    let after =
        |pid, [reads, writes]: [u64; 2]| [io(pid, "syscr") - reads, io(pid, "syscw") - writes];
    assert_eq!(after(child, child_before), [LINES, LINES]);
    // Some of the client's calls are for its pipes.
    let [reads, writes] = after(client.pid(), client_before);
    assert!(
        (LINES..LINES + LINES / 10).contains(&reads),
        "{reads} reads"
    );
    assert!(
        (LINES..LINES + LINES / 10).contains(&writes),
        "{writes} writes"
    );
}
