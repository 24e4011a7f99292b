//! 客户端: what the documents say of tcpcli, and what it does when its server fails it.

mod common;

use common::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Line by line, and all at once.
const BOTH: [&[&str]; 2] = [&[], &["--batch"]];

#[test]
fn c1_anything_but_one_address_is_a_usage_error() {
    for args in [&[][..], &["127.0.0.1", "127.0.0.2"]] {
        let output = run(Command::new(TCPCLI).args(args));
        assert_eq!(output.code, Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
        let said = output.stderr;
        assert!(
            said.contains("Usage: tcpcli") && said.contains("<IPaddress>"),
            "{said}"
        );
    }
}

#[test]
fn c2_without_a_bind_the_kernel_picks_the_source_address_and_an_ephemeral_port() {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range
        .split_whitespace()
        .map(|port| port.parse().unwrap())
        .collect();

    let server = Server::start(&[]);
    let (client, _) = server.tcpcli();
    let addr = client.addr();

    assert_eq!(
        addr.ip(),
        server.addr.ip(),
        "the way to loopback starts there"
    );
    assert!((range[0]..=range[1]).contains(&addr.port()), "{addr}");
}

#[test]
fn c3_connect_returns_when_the_handshake_is_done_both_ends_established() {
    let server = Server::start(&[]);
    let client = Client::start(server.addr, &[]);
    wait_reading_input(client.pid()); // so connect has returned
    let row = connection_of(client.pid()).unwrap();
    assert_eq!(row.state, "ESTABLISHED");
    wait_state(server.addr, row.local, "ESTABLISHED");
}

#[test]
fn c4_the_client_sleeps_until_a_line_is_typed_and_sends_nothing_before() {
    let (mut client, connfd) = Client::with_own_server(&[]);

    wait_reading_input(client.pid());
    assert!(silent(&connfd));
    client.type_in(b"half a li");
    wait_until("the client to take it", || io(client.pid(), "rchar") >= 9);
    wait_reading_input(client.pid());
    assert!(silent(&connfd), "half a line is not a line");

    client.type_in(b"ne\n");
    let mut line = [0; 12];
    (&connfd).read_exact(&mut line).unwrap();
    assert_eq!(&line, b"half a line\n");
}

#[test]
fn c5_stop_and_wait_a_line_is_sent_when_the_echo_of_the_last_is_there() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    wait_reading_input(client.pid());
    let (reads, writes) = (io(child, "syscr"), io(client.pid(), "syscw"));
    let still = stop(child);

    client.type_in(b"the first\nthe second\n");

    wait_asleep(client.pid()); // for the echo
    assert_eq!(io(client.pid(), "syscw"), writes + 1);
    assert_eq!(connection(server.addr, addr).unwrap().rx_queue, 10);

    drop(still);
    assert_eq!(client.printed(21), b"the first\nthe second\n");
    wait_reading_socket(child);
    // The stop interrupted one read.
    assert_eq!(io(child, "syscr"), reads + 3, "a read for each line");
}

#[test]
fn c6_syn_sent_while_the_servers_queue_takes_no_more_connections() {
    let server = Server::start(&["--backlog", "1"]);
    wait_accepting(server.pid());
    let still = stop(server.pid());
    let _first = [connect(server.addr), connect(server.addr)]; // N + 1

    let mut client = Client::start(server.addr, &[]);
    wait_until("SYN_SENT", || {
        connection_of(client.pid()).is_some_and(|row| row.state == "SYN_SENT")
    });

    drop(still);
    client.type_in(b"in the end\n");
    assert_eq!(client.printed(11), b"in the end\n");
}

#[test]
fn c7_a_server_that_ends_early_is_reported() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");

    signal(child, Signal::SIGKILL);
    wait_state(addr, server.addr, "CLOSE_WAIT"); // the client sleeps in Fgets, unaware
    client.type_in(b"anybody?\n");

    let ended = client.wait();
    ended.terminated_prematurely();
    assert!(ended.stdout.is_empty());
}

#[test]
fn so_it_is_to_a_last_piece_without_a_newline() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    signal(child, Signal::SIGKILL);
    wait_state(addr, server.addr, "CLOSE_WAIT");
    client.type_in(b"anybody?");

    let ended = client.finish();
    ended.terminated_prematurely();
}

#[test]
fn an_answer_that_is_longer_than_the_line_is_printed_whole() {
    let (mut client, mut connfd) = Client::with_own_server(&[]);
    for answer in [&b"not an echo\n"[..], b"and the next one is not, either\n"] {
        client.type_in(b"x\n");
        connfd.read_exact(&mut [0; 2]).unwrap();
        connfd.write_all(answer).unwrap();
        assert_eq!(client.printed(answer.len()), answer);
    }
}

#[test]
fn a_non_blocking_standard_input_is_waited_for() {
    let server = Server::start(&[]);
    for args in BOTH {
        let (input, mut keyboard) = pipe();
        fcntl(&input, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut command = tcpcli(server.addr);
        let mut client = Client::spawn(command.args(args), input, Stdio::piped());
        client.addr();
        for _ in 0..2 {
            if args.is_empty() {
                wait_asleep(client.pid()); // with --batch, another thread does
            }
            keyboard.write_all(b"hello\n").unwrap();
            assert_eq!(client.printed(6), b"hello\n");
        }
        drop(keyboard);
        assert_eq!(client.wait().code, Some(0), "{args:?}");
    }
}

#[test]
fn an_echo_that_ends_in_mid_line_is_printed_and_reported() {
    let (mut client, mut connfd) = Client::with_own_server(&[]);
    client.type_in(b"hello\n");
    connfd.read_exact(&mut [0; 6]).unwrap();
    connfd.write_all(b"hel").unwrap();
    drop(connfd);

    let ended = client.finish();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hel");
}

#[test]
fn so_is_a_last_piece_without_a_newline_that_does_not_come_back_whole() {
    let (mut client, mut connfd) = Client::with_own_server(&[]);
    client.type_in(b"hello");
    client.end_input();
    assert_eq!(rest(&mut connfd), b"hello");
    connfd.write_all(b"hell").unwrap();
    drop(connfd);

    let ended = client.wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hell");
}

#[test]
fn a_last_piece_is_whole_when_as_many_bytes_have_come_though_no_fin() {
    let (mut client, mut connfd) = Client::with_own_server(&[]);
    client.type_in(b"hello");
    client.end_input();
    assert_eq!(
        rest(&mut connfd),
        b"hello",
        "the half-close tells the server that it is all"
    );
    connfd.write_all(b"hello").unwrap();

    let ended = client.wait(); // while connfd is open
    assert_eq!((ended.code, ended.stdout), (Some(0), b"hello".to_vec()));
    drop(connfd);
}

#[test]
fn a_reset_is_called_by_its_name() {
    for args in BOTH {
        let (mut client, mut connfd) = Client::with_own_server(args);
        let server = connfd.local_addr().unwrap();
        client.type_in(b"one\n");
        connfd.read_exact(&mut [0; 4]).unwrap();
        connfd.write_all(b"one\n").unwrap();
        assert_eq!(client.printed(4), b"one\n");
        client.type_in(b"two\n");
        connfd.read_exact(&mut [0; 4]).unwrap();
        SockRef::from(&connfd)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(connfd);

        let ended = client.wait();
        assert_eq!(ended.code, Some(1));
        let why = "Connection reset by peer (os error 104)";
        assert_eq!(
            ended.stderr,
            format!("tcpcli: readline error: {server}: {why}\n")
        );
    }
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let server = Server::start(&[]);
    for args in BOTH {
        let mut client = Client::start(server.addr, args);
        client.type_in(b"the line that head -1 wants\n");
        client.printed(28);
        client.close_stdout();
        client.type_in(b"one more\n");

        let ended = client.wait(); // its input is open
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn a_full_disk_is_said() {
    let server = Server::start(&[]);
    for args in BOTH {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = tcpcli(server.addr);
        let mut client = Client::spawn(command.args(args), Stdio::piped(), full);
        client.type_in(b"hello\n");

        let ended = client.wait();
        assert_eq!(ended.code, Some(1));
        let why = "standard output: No space left on device (os error 28)";
        assert_eq!(ended.stderr, format!("tcpcli: fputs error: {why}\n"));
    }
}

#[test]
fn an_input_that_cannot_be_read_is_said() {
    let server = Server::start(&[]);
    for args in BOTH {
        let directory = fs::File::open("/").unwrap();
        let mut command = tcpcli(server.addr);
        let ended = Client::spawn(command.args(args), directory, Stdio::piped()).wait();
        assert_eq!(ended.code, Some(1));
        let why = "standard input: Is a directory (os error 21)";
        assert_eq!(ended.stderr, format!("tcpcli: fgets error: {why}\n"));
    }
}

#[test]
fn nothing_is_held_back_while_a_slow_server_thinks() {
    let (mut client, mut connfd) = Client::with_own_server(&[]);
    client.type_in(b"one\ntwo\n");
    connfd.read_exact(&mut [0; 4]).unwrap();
    connfd.write_all(b"one\n").unwrap();
    connfd.read_exact(&mut [0; 4]).unwrap();

    assert_eq!(
        client.printed(4),
        b"one\n",
        "though the echo of the next is not there"
    );
    connfd.write_all(b"two\n").unwrap();
    assert_eq!(client.printed(4), b"two\n");
}

#[test]
fn stopped_and_continued_it_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    client.type_in(b"before\n");
    assert_eq!(client.printed(7), b"before\n");
    for asleep_in_the_echo in [false, true] {
        let still_child = asleep_in_the_echo.then(|| stop(child));
        if asleep_in_the_echo {
            client.type_in(b"after\n");
            wait_asleep(client.pid());
        }
        let still = stop(client.pid());
        drop(still);
        drop(still_child);
        if !asleep_in_the_echo {
            client.type_in(b"after\n");
        }
        assert_eq!(client.printed(6), b"after\n");
    }
}
