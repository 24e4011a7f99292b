//! The bytes that come back are the bytes that were sent: whatever a line holds, however
//! long it is, however it is cut on its way.

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::thread;
use unp::MAXLINE;

/// Asserts that tcpcli prints what it is fed, line by line and with --batch.
fn comes_back(server: &Server, input: &[u8]) {
    for args in [&[][..], &["--batch"]] {
        Program::tcpcli(server.addr, args)
            .feed(input)
            .succeeded(input);
    }
}

#[test]
fn every_kind_of_line_comes_back_byte_for_byte() {
    let server = Server::start(&[]);
    for input in [
        &b""[..],
        b"\n",
        b"\n\n\n",
        b"hello\n",
        b"hello",
        b"hello\nwithout a newline",
        b"\0\n",
        b"\0",
        b"a\0b\n\0\0c\n",
        b"a\0b",
        b"\r\n",
        b"dos\r\nlines\r\n",
        b"\r",
        b"\xff\xfe\x80\n\xc3\x28\n\xed\xa0\x80",
        b"\x1b[2J\x04\x03\x1a\n",
        "你好，世界\n".as_bytes(),
    ] {
        comes_back(&server, input);
    }
    let all: Vec<u8> = (0..=255).collect();
    comes_back(&server, &all);
    comes_back(&server, &all.repeat(100));
}

#[test]
fn lines_around_and_beyond_maxline_come_back() {
    let server = Server::start(&[]);
    for length in [
        1,
        MAXLINE - 2,
        MAXLINE - 1,
        MAXLINE,
        MAXLINE + 1,
        2 * MAXLINE,
        70_000,
        300_000,
    ] {
        let mut line = vec![b'x'; length];
        comes_back(&server, &line); // ends without a newline
        line.push(b'\n');
        comes_back(&server, &line);
        line.extend_from_within(..);
        comes_back(&server, &line);
    }
}

#[test]
fn a_line_longer_than_maxline_travels_in_pieces_of_maxline() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
    client.type_in(&[b'x'; MAXLINE + 10]);
    client.type_in(b"\n");

    let piece = read_bytes(&mut connfd, MAXLINE);
    wait_asleep(client.pid());
    assert!(silent(&connfd), "the rest waits for the echo");
    connfd.write_all(&piece).unwrap();
    assert_eq!(read_bytes(&mut connfd, 11), b"xxxxxxxxxx\n");
}

#[test]
fn tcpcli_writes_its_echoes_to_a_file_in_large_pieces() {
    let server = Server::start(&[]);
    let mut file = memory_file();
    let input = lines(3000);

    let stdout = file.try_clone().unwrap();
    let mut client = Program::spawn(&mut tcpcli(server.addr), Stdio::piped(), stdout);
    client.type_in(input.as_bytes());
    let written = || (file.metadata().unwrap().len() == input.len() as u64).then_some(());
    wait_while_alive(client.pid(), "all echoes in the file", written);
    wait_reading_input(client.pid());
    let file_writes = io(client.pid(), "syscw") - 3000; // the others go to the server
    assert!(file_writes < 300, "{file_writes}");

    assert_eq!(client.ctrl_d_and_wait().code, Some(0));
    let mut echoed = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut echoed).unwrap();
    assert!(echoed == input);
}

/// Bytes with many newlines and NULs among them, repeated.
fn bytes(times: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => any::<u8>(), 2 => Just(b'\n'), 1 => Just(0), 3 => Just(b'a')];
    (vec(byte, 0..1000), 1..=times).prop_map(|(bytes, times)| bytes.repeat(times))
}

fn few(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(few(16))]

    #[test]
    fn any_bytes_typed_into_tcpcli_in_pieces_of_any_size_come_back(
        input in bytes(40),
        sizes in vec(1..6000usize, 1..8),
    ) {
        let server = Server::start(&[]);
        let mut client = Program::tcpcli(server.addr, &[]);
        let mut rest = &input[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, others) = rest.split_at((*size).min(rest.len()));
            client.type_in(piece);
            rest = others;
        }
        client.ctrl_d_and_wait().succeeded(&input);
    }

    #[test]
    fn any_bytes_sent_to_tcpserv_in_pieces_of_any_size_come_back(
        input in bytes(400),
        sizes in vec(1..50_000usize, 1..8),
    ) {
        let server = Server::start(&[]);
        let mut stream = connect(server.addr);
        let mut sender = stream.try_clone().unwrap();
        let sent = input.clone();
        let feeder = thread::spawn(move || {
            let mut rest = &sent[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, others) = rest.split_at((*size).min(rest.len()));
                sender.write_all(piece).unwrap();
                rest = others;
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        prop_assert!(rest(&mut stream) == input);
        feeder.join().unwrap();
    }
}
