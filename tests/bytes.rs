//! Bytes in equal bytes out: whatever a line holds, however long it is, however it
//! is cut on its way.

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::io::{Read, Seek, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Stdio;
use std::thread;
use unp::MAXLINE;

/// Through the real programs, by pipes: what was fed comes out, and nothing else.
fn comes_back(server: &Server, input: &[u8]) {
    for args in [&[][..], &["--batch"]] {
        comes_back_with(args, server, input);
    }
}

fn comes_back_with(args: &[&str], server: &Server, input: &[u8]) {
    let ended = Client::start(server.addr, args).feed(input);
    let what = String::from_utf8_lossy(&input[..input.len().min(100)]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{what:?}"
    );
    assert!(ended.stdout == input, "{what:?}");
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::start(listener.local_addr().unwrap(), &[]);
    let mut connfd = with_deadline(listener.accept().unwrap().0);
    client.type_in(&[b'x'; MAXLINE + 10]);
    client.type_in(b"\n");

    let mut piece = [0; MAXLINE];
    connfd.read_exact(&mut piece).unwrap();
    wait_asleep(client.pid());
    assert!(silent(&connfd), "the rest waits for the echo");
    connfd.write_all(&piece).unwrap();
    connfd.read_exact(&mut piece[..11]).unwrap();
    assert_eq!(&piece[..11], b"xxxxxxxxxx\n");
}

#[test]
fn into_a_file_the_same_bytes_in_large_pieces() {
    let server = Server::start(&[]);
    let mut file = memory_file();
    let input: String = (0..3000).map(|n| format!("line {n}\n")).collect();

    let stdout = file.try_clone().unwrap();
    let mut client = Client::spawn(&mut tcpcli(server.addr), Stdio::piped(), stdout);
    client.type_in(input.as_bytes());
    wait_until("all to be flushed before it sleeps", || {
        file.metadata().unwrap().len() == input.len() as u64
    });
    wait_reading_input(client.pid());
    let file_writes = io(client.pid(), "syscw") - 3000;
    assert!(file_writes < 300, "{file_writes}");

    assert_eq!(client.finish().code, Some(0));
    let mut echoed = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut echoed).unwrap();
    assert!(echoed == input);
}

/// Some bytes, with more newlines and NULs among them than chance would have, over
/// and over.
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
    fn any_bytes_written_to_tcpcli_in_any_sizes_come_back(
        input in bytes(40),
        sizes in vec(1..6000usize, 1..8),
    ) {
        let server = Server::start(&[]);
        let mut client = Client::start(server.addr, &[]);
        let mut rest = &input[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, others) = rest.split_at((*size).min(rest.len()));
            client.type_in(piece);
            rest = others;
        }
        let ended = client.finish();
        prop_assert_eq!(ended.code, Some(0));
        prop_assert!(ended.stdout == input);
    }

    #[test]
    fn any_bytes_written_to_tcpserv_in_any_sizes_come_back(
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
