//! tcpcli --batch: the same bytes, without waiting for each echo.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::io::{Read, Seek, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

fn batch(server: SocketAddr) -> Program {
    Program::tcpcli(server, &["--batch"])
}

#[test]
fn batch_returns_a_million_lines_whole_and_in_order() {
    let server = Server::start(&[]);
    let input = lines(1_000_000);
    batch(server.addr)
        .feed(input.as_bytes())
        .succeeded(input.as_bytes());
}

#[test]
fn batch_reads_a_file_and_writes_a_file() {
    let server = Server::start(&[]);
    let (mut from, mut to) = (memory_file(), memory_file());
    let input = lines(200_000);
    from.write_all(input.as_bytes()).unwrap();
    from.rewind().unwrap();

    let mut command = tcpcli(server.addr);
    let stdout = to.try_clone().unwrap();
    let ended = Program::spawn(command.arg("--batch"), from, stdout).wait();

    ended.succeeded(b"");
    let mut output = String::new();
    to.rewind().unwrap();
    to.read_to_string(&mut output).unwrap();
    assert!(output == input);
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

    #[test]
    fn batch_returns_any_bytes_typed_in_pieces_of_any_size(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        times in 1..300usize,
        size in 1..100_000usize,
    ) {
        let server = Server::start(&[]);
        let input = bytes.repeat(times);
        let mut client = batch(server.addr);
        let mut stdin = client.take_input();
        let sent = input.clone();
        let feeder = thread::spawn(move || {
            for piece in sent.chunks(size) {
                stdin.write_all(piece).unwrap();
            }
        });
        client.wait().succeeded(&input);
        feeder.join().unwrap();
    }
}

#[test]
fn batch_sends_the_next_line_before_the_last_echo_has_come() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&["--batch"]);
    client.type_in(b"one\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
    client.type_in(b"two\n");
    assert_eq!(read_bytes(&mut connfd, 4), b"two\n");
    connfd.write_all(b"one\ntwo\n").unwrap();
    assert_eq!(client.next_output(8), b"one\ntwo\n");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"", "half-closed");
    drop(connfd);
    assert_eq!(client.wait().code, Some(0));
}

#[test]
fn batch_between_two_pipes_holds_nothing_back() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    for piece in [&b"not even a line"[..], b"\n", b"x", b"hello\n"] {
        client.type_in(piece);
        assert_eq!(client.next_output(piece.len()), piece);
    }
    assert_eq!(client.ctrl_d_and_wait().code, Some(0));
}

#[test]
fn batch_takes_a_megabyte_before_its_output_is_read() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    let input = vec![b'x'; 1 << 20]; // far more than two pipes hold
    client.type_in(&input);
    assert!(client.next_output(input.len()) == input);
    assert_eq!(client.ctrl_d_and_wait().code, Some(0));
}

#[test]
fn batch_reports_at_once_that_the_server_ended_though_no_input_comes() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    let child = server.child_for(client.addr());
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");

    let start = Instant::now();
    signal(child, Signal::SIGKILL);

    let ended = client.wait(); // its input is open
    assert!(start.elapsed() < Duration::from_secs(10));
    ended.terminated_prematurely();
}

#[test]
fn batch_reports_a_server_that_sends_back_less_than_it_got() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&["--batch"]);
    client.type_in(b"hello\n");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"hello\n");
    connfd.write_all(b"hell").unwrap();
    drop(connfd);
    let ended = client.wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hell");
}

#[test]
fn batch_reports_a_server_that_ends_before_all_is_sent() {
    let (client, connfd) = Program::tcpcli_with_own_server(&["--batch"]);
    connfd.shutdown(Shutdown::Write).unwrap();
    client.feed(&vec![b'x'; 1 << 24]).terminated_prematurely();
    drop(connfd);
}

#[test]
fn batch_takes_an_answer_that_is_longer_than_what_was_sent() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&["--batch"]);
    connfd.write_all(b"a greeting\n").unwrap();
    client.type_in(b"hello\n");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"hello\n");
    connfd.write_all(b"hello\n").unwrap();
    drop(connfd);
    client.wait().succeeded(b"a greeting\nhello\n");
}

#[test]
fn batch_without_a_thread_is_an_error() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(
        command.arg("--batch"),
        &[libc::SYS_clone, libc::SYS_clone3],
        libc::EAGAIN,
    );
    let why = reason(Errno::EAGAIN);
    run(&mut command).failed(&format!("tcpcli: pthread_create error: {why}"));
}
