//! The echo is identical to the input, whatever a line contains, however long the line is, and
//! however it is split in transit.

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use unp::MAXLINE;

/// Asserts that tcpcli prints exactly its input, line by line and with --batch.
fn comes_back(server: &Server, input: &[u8]) {
    for args in [&[][..], &["--batch"]] {
        let client = Program::tcpcli(server.addr, args);
        client.feed(input).succeeded(input);
    }
}

#[test]
fn every_kind_of_line_comes_back_byte_for_byte() {
    let server = Server::start(&[]);
    for input in [
        &b""[..],
        b"\n\n\n",
        b"hello\nwithout a newline",
        b"\0",
        b"a\0b\n\0\0c\n",
        b"dos\r\nlines\r\n",
        b"\xff\xfe\x80\n\xc3\x28\n\xed\xa0\x80",
        b"\x1b[2J\x04\x03\x1a\n",
        "你好，世界\n".as_bytes(),
    ] {
        comes_back(&server, input);
    }
    let all: Vec<u8> = (0..=255).collect();
    comes_back(&server, &all.repeat(100));

    let around = [MAXLINE - 1, MAXLINE, MAXLINE + 1];
    for length in around.into_iter().chain([2 * MAXLINE, 300_000]) {
        let mut line = vec![b'x'; length];
        comes_back(&server, &line); // without a final newline
        line.push(b'\n');
        line.extend_from_within(..);
        comes_back(&server, &line);
    }
}

/// A repeated byte string with many newlines and NULs.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => any::<u8>(), 2 => Just(b'\n'), 1 => Just(0), 3 => Just(b'a')];
    (vec(byte, 0..1000), 1..=40usize).prop_map(|(bytes, times)| bytes.repeat(times))
}

proptest! {
    #![proptest_config(Config { cases: 16, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_typed_in_pieces_of_any_size_come_back(
        input in bytes(),
        sizes in vec(1..6000usize, 1..8),
        batch: bool,
    ) {
        let server = Server::start(&[]);
        let mut client = Program::tcpcli(server.addr, if batch { &["--batch"] } else { &[] });
        let (mut keyboard, mut typed) = (client.take_input(), input.clone());
        let typist = thread::spawn(move || {
            for size in sizes.into_iter().cycle() {
                let others = typed.split_off(size.min(typed.len()));
                keyboard.write_all(&typed).unwrap();
                typed = others;
                if typed.is_empty() {
                    return;
                }
            }
        });
        client.wait().succeeded(&input);
        typist.join().unwrap();
    }
}
