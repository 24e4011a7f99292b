//! 正常终止步骤: what happens from Ctrl-D on, step by step.

mod common;

use common::*;
use nix::sys::signal::Signal;

#[test]
fn n1_end_of_file_on_standard_input_makes_str_cli_return() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    wait_reading_input(client.pid());

    client.end_input();

    // Out of str_cli there is nothing left but exit.
    assert_eq!(zombie_status(client.pid()), 0);
}

#[test]
fn n2_the_client_then_exits_with_status_0() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");

    client.end_input();

    assert_eq!(zombie_status(client.pid()), 0);
    let ended = client.wait();
    assert_eq!(
        (ended.code, ended.stdout, ended.stderr.as_str()),
        (Some(0), vec![], "")
    );
}

#[test]
fn n3_the_exit_sends_a_fin_server_close_wait_client_fin_wait_2() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    let still = stop(child);

    client.finish();

    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_state(server.addr, addr, "CLOSE_WAIT");
    drop(still);
    wait_state(addr, server.addr, "TIME_WAIT");
}

#[test]
fn n4_the_childs_read_returns_0_on_the_fin_and_str_echo_returns() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");
    wait_reading_socket(child);
    let reads = io(child, "syscr");
    let bytes = io(child, "rchar");
    let _still = stop(server.pid()); // nobody reaps the child before we have looked

    client.end_input();

    wait_until("the child to leave", || process_state(child) == Some('Z'));
    assert_eq!(io(child, "syscr"), reads + 1, "one read more");
    assert_eq!(io(child, "rchar"), bytes, "which brought nothing");
}

#[test]
fn n5_the_child_exits_with_status_0() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let still = stop(server.pid());

    client.finish();

    assert_eq!(zombie_status(child), 0);
    drop(still);
    wait_until("the parent to reap it", || gone(child));
    assert!(server.said().is_empty());
}

#[test]
fn n6_the_childs_exit_sends_the_other_fin_client_time_wait_server_gone() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();

    client.finish();

    wait_until("the child to be gone", || gone(child));
    wait_state(addr, server.addr, "TIME_WAIT");
    wait_state(server.addr, addr, None);
}

#[test]
fn the_same_when_the_client_is_killed() {
    let server = Server::start(&[]);
    let (client, child) = server.tcpcli();
    let addr = client.addr();
    let still = stop(server.pid());

    signal(client.pid(), Signal::SIGKILL);

    assert_eq!(zombie_status(child), 0);
    drop(still);
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

    // A pipe holds them all, so that the client reads them in a few pieces.
    let input: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    client.type_in(input.as_bytes());
    assert_eq!(client.printed(input.len()), input.as_bytes());
    wait_reading_socket(child);
    wait_reading_input(client.pid());

    let after =
        |pid, [reads, writes]: [u64; 2]| [io(pid, "syscr") - reads, io(pid, "syscw") - writes];
    assert_eq!(after(child, child_before), [LINES, LINES]);
    // Of the client's, some go to its pipes (and a slow machine adds a sleep or two).
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
