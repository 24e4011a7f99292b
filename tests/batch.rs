//! tcpcli --batch sends the same bytes without waiting for each echo. (client.rs and bytes.rs test
//! both modes.)

mod common;

use common::*;
use std::io::{Seek, read_to_string};

const BATCH: &[&str] = &["--batch"];

#[test]
fn batch_echoes_a_file_to_a_file() {
    let server = Server::start(&[]);
    let (mut from, mut to) = (memory_file(), memory_file());
    let input = lines(100_000);
    from.write_all(input.as_bytes()).unwrap();
    from.rewind().unwrap();
    let stdout = to.try_clone().unwrap();
    let mut client = Program::spawn(tcpcli(server.addr).args(BATCH), from, stdout);
    client.wait().succeeded(b"");
    to.rewind().unwrap();
    assert!(read_to_string(to).unwrap() == input);
}

#[test]
fn batch_sends_a_line_before_the_previous_echo_arrives() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(BATCH);
    client.type_in(b"one\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
    client.type_in(b"two\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"two\n");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"", "half-closed");
    let more = b"more than it has sent\n"; // anything beyond the echo is also printed
    connfd.write_all(more).unwrap();
    drop(connfd);
    client.wait().succeeded(more);
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
fn batch_accepts_a_megabyte_before_its_output_is_read() {
    let server = Server::start(&[]);
    let mut client = Program::tcpcli(server.addr, BATCH);
    let input = vec![b'x'; 1 << 20]; // far more than two pipes hold
    client.type_in(&input);
    client.ctrl_d_and_wait().succeeded(&input);
}

#[test]
fn batch_reports_a_terminated_server_without_waiting_for_input() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli_with(BATCH);
    client.echoes(b"hello\n");

    signal(child, Signal::SIGKILL);

    client.wait().terminated_prematurely(); // with standard input still open
}

#[test]
fn batch_reports_a_server_that_closes_before_all_input_is_sent() {
    let (client, connfd) = Program::tcpcli_with_own_server(BATCH);
    connfd.shutdown(Shutdown::Write).unwrap();
    client.feed(&vec![b'x'; 1 << 24]).terminated_prematurely();
    drop(connfd);
}
