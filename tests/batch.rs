//! tcpcli --batch: the same bytes, without waiting for each echo.

mod common;

use common::*;
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

fn batch(server: SocketAddr) -> Client {
    Client::start(server, &["--batch"])
}

#[test]
fn a_million_lines_come_back_whole_and_in_order() {
    let server = Server::start(&[]);
    let input: String = (0..1_000_000).map(|n| format!("line {n}\n")).collect();
    let ended = batch(server.addr).feed(input.as_bytes());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == input.as_bytes());
}

#[test]
fn from_a_file_into_a_file() {
    let server = Server::start(&[]);
    let name = |what| {
        format!(
            "{}/{what}-{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        )
    };
    let (from, to) = (name("from"), name("to"));
    let input: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    fs::write(&from, &input).unwrap();
    let (stdin, stdout) = (
        fs::File::open(&from).unwrap(),
        fs::File::create(&to).unwrap(),
    );
    let mut command = tcpcli(server.addr);
    let status = command
        .arg("--batch")
        .stdin(stdin)
        .stdout(stdout)
        .status()
        .unwrap();
    let output = fs::read(&to).unwrap();
    fs::remove_file(from).unwrap();
    fs::remove_file(to).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(output == input.as_bytes());
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_written_in_any_sizes_come_back(
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
        let ended = client.wait();
        feeder.join().unwrap();
        prop_assert_eq!(ended.code, Some(0));
        prop_assert!(ended.stdout == input);
    }
}

#[test]
fn the_next_is_sent_while_the_echo_of_the_last_is_not_there() {
    let (mut client, mut connfd) = Client::with_own_server(&["--batch"]);
    client.type_in(b"one\n");
    let mut line = [0; 4];
    connfd.read_exact(&mut line).unwrap();
    client.type_in(b"two\n");
    connfd.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"two\n");
    connfd.write_all(b"one\ntwo\n").unwrap();
    assert_eq!(client.printed(8), b"one\ntwo\n");
    client.end_input();
    assert_eq!(rest(&mut connfd), b"", "half-closed");
    drop(connfd);
    assert_eq!(client.wait().code, Some(0));
}

#[test]
fn into_two_pipes_nothing_is_held_back() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    for piece in [&b"not even a line"[..], b"\n", b"x", b"hello\n"] {
        client.type_in(piece);
        assert_eq!(client.printed(piece.len()), piece);
    }
    assert_eq!(client.finish().code, Some(0));
}

#[test]
fn who_writes_first_and_reads_later_is_not_stuck() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    let input = vec![b'x'; 1 << 20]; // far more than two pipes hold
    client.type_in(&input);
    assert!(client.printed(input.len()) == input);
    assert_eq!(client.finish().code, Some(0));
}

#[test]
fn a_server_that_ends_is_reported_at_once_though_the_input_is_silent() {
    let server = Server::start(&[]);
    let mut client = batch(server.addr);
    let child = server.child_for(client.addr());
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");

    let start = Instant::now();
    signal(child, Signal::SIGKILL);

    let ended = client.wait(); // its input is open
    assert!(start.elapsed() < Duration::from_secs(10));
    ended.terminated_prematurely();
}

#[test]
fn so_is_one_that_sends_back_less_than_it_got() {
    let (mut client, mut connfd) = Client::with_own_server(&["--batch"]);
    client.type_in(b"hello\n");
    client.end_input();
    assert_eq!(rest(&mut connfd), b"hello\n");
    connfd.write_all(b"hell").unwrap();
    drop(connfd);
    let ended = client.wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hell");
}

#[test]
fn and_one_that_ends_while_it_is_sent_to() {
    let (client, connfd) = Client::with_own_server(&["--batch"]);
    connfd.shutdown(Shutdown::Write).unwrap();
    let ended = client.feed(&vec![b'x'; 1 << 24]);
    ended.terminated_prematurely();
    drop(connfd);
}
