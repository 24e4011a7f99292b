//! tcpcli --batch: the same bytes, without waiting for each echo. (What it shares with tcpcli
//! line by line is in client.rs and bytes.rs.)

mod common;

use common::*;

const BATCH: &[&str] = &["--batch"];

#[test]
fn batch_sends_the_next_line_before_the_last_echo_has_come() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(BATCH);
    client.type_in(b"one\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
    client.type_in(b"two\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"two\n");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"", "half-closed");
    connfd.write_all(b"one\ntwo\n").unwrap();
    drop(connfd);
    client.wait().succeeded(b"one\ntwo\n");
}

#[test]
fn batch_between_two_pipes_holds_nothing_back() {
    let server = Server::start(&[]);
    let mut client = Program::tcpcli(server.addr, BATCH);
    for piece in [&b"not even a line"[..], b"\n", b"x", b"hello\n"] {
        client.echoes(piece);
    }
    client.ctrl_d_and_wait().succeeded(b"");
}

#[test]
fn batch_takes_a_megabyte_before_its_output_is_read() {
    let server = Server::start(&[]);
    let mut client = Program::tcpcli(server.addr, BATCH);
    let input = vec![b'x'; 1 << 20]; // far more than two pipes hold
    client.type_in(&input);
    client.ctrl_d_and_wait().succeeded(&input);
}

#[test]
fn batch_reports_that_the_server_ended_though_no_input_comes() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli_with(BATCH);
    client.echoes(b"hello\n");

    signal(child, Signal::SIGKILL);

    client.wait().terminated_prematurely(); // its input is open
}

#[test]
fn batch_reports_a_server_that_ends_before_all_is_sent() {
    let (client, connfd) = Program::tcpcli_with_own_server(BATCH);
    connfd.shutdown(Shutdown::Write).unwrap();
    client.feed(&vec![b'x'; 1 << 24]).terminated_prematurely();
    drop(connfd);
}
