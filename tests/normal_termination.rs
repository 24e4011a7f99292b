//! 正常终止步骤: what happens after Ctrl-D, step by step.

mod common;

use common::*;

/// n3_ in system_calls.rs shows that only the exit sends the client's FIN.
#[test]
fn n1_n2_n3_n5_n6_t1_the_client_exits_then_the_child_and_the_client_is_in_time_wait() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    client.echoes(b"hello\n");
    wait_reading_input(client.pid());
    wait_reading_socket(child);
    let [stopped_parent, stopped_child] = [server.pid(), child].map(stop);

    client.ctrl_d_and_wait().succeeded(b""); // exit status 0
    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_state(server.addr, addr, "CLOSE_WAIT");

    stopped_child.go_on();
    assert_eq!(zombie_status(child), 0);
    wait_state(addr, server.addr, "TIME_WAIT");
    wait_state(server.addr, addr, None);

    stopped_parent.go_on();
    wait_until("the child to be reaped", || gone(child));
    assert!(server.said().is_empty());
}

#[test]
fn n4_the_childs_read_returns_0_on_the_fin_and_str_echo_returns() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    client.echoes(b"hello\n");
    wait_reading_socket(child);
    // The parent's counters include those of each child that it has reaped.
    let (of_child, before) = (io(child), io(server.pid()));

    client.ctrl_d();

    wait_until("the child to be reaped", || gone(child));
    let after = io(server.pid());
    let reads = after.syscr - before.syscr;
    assert_eq!(reads, of_child.syscr + 1, "one more read");
    let bytes = after.rchar - before.rchar;
    assert_eq!(bytes, of_child.rchar, "it returned 0");
    show("the child called read once more, and read returned 0");
}
