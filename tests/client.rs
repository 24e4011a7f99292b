//! 客户端: what the documents say of tcpcli, and what it does when something fails.

mod common;

use common::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use unp::MAXLINE;

/// Line by line, and with --batch.
const BOTH: [&[&str]; 2] = [&[], &["--batch"]];

#[test]
fn c1_anything_but_one_address_is_a_usage_error() {
    for args in [&[][..], &["127.0.0.1", "127.0.0.2"]] {
        let output = run(Command::new(TCPCLI).args(args));
        assert_eq!(output.code, Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
        let said = output.stderr;
        assert!(said.contains("Usage: tcpcli"), "{said}");
        assert!(said.contains("<IPaddress>"), "{said}");
    }
}

#[test]
fn c2_without_bind_the_kernel_chooses_the_source_address_and_an_ephemeral_port() {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut range = range.split_whitespace().map(|port| port.parse().unwrap());
    let ephemeral = range.next().unwrap()..=range.next().unwrap();

    let server = Server::start(&[]);
    let (client, _) = server.tcpcli();

    let addr = client.addr();
    assert_eq!(addr.ip(), server.addr.ip(), "the route to 127.0.0.1");
    assert!(ephemeral.contains(&addr.port()), "{addr}");
}

#[test]
fn c3_connect_returns_after_the_handshake_with_both_ends_established() {
    let server = Server::start(&[]);
    let client = Program::tcpcli(server.addr, &[]);
    wait_reading_input(client.pid()); // so connect has returned
    let row = connection_of(client.pid()).unwrap();
    assert_eq!(row.state, "ESTABLISHED");
    wait_state(server.addr, row.local, "ESTABLISHED");
}

#[test]
fn c4_the_client_sleeps_until_a_line_is_typed_and_sends_nothing_before() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);

    wait_reading_input(client.pid());
    assert!(silent(&connfd));
    let bytes = io(client.pid(), "rchar");
    client.type_in(b"half a li");
    let read = || (io(client.pid(), "rchar") == bytes + 9).then_some(());
    wait_while_alive(client.pid(), "the client to read it", read);
    wait_reading_input(client.pid());
    assert!(silent(&connfd), "half a line is not sent");

    client.type_in(b"ne\n");
    assert_eq!(read_bytes(&mut connfd, 12), b"half a line\n");
}

#[test]
fn c5_stop_and_wait_a_line_is_sent_after_the_echo_of_the_line_before() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    wait_reading_input(client.pid());
    let (reads, writes) = (io(child, "syscr"), io(client.pid(), "syscw"));
    let stopped = stop(child);

    client.type_in(b"the first\nthe second\n");

    wait_received(server.addr, addr, 10);
    wait_asleep(client.pid()); // for the echo
    assert_eq!(io(client.pid(), "syscw"), writes + 1);
    let received = connection(server.addr, addr).unwrap().rx_queue;
    assert_eq!(received, 10, "the first line only");

    stopped.go_on();
    assert_eq!(client.next_output(21), b"the first\nthe second\n");
    wait_reading_socket(child);
    // The stop interrupted one read.
    assert_eq!(io(child, "syscr"), reads + 3, "a read for each line");
}

#[test]
fn c6_syn_sent_while_the_servers_queue_takes_no_more_connections() {
    let server = Server::start(&["--backlog", "1"]);
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let _first = [connect(server.addr), connect(server.addr)]; // N + 1

    let mut client = Program::tcpcli(server.addr, &[]);
    let syn_sent = || connection_of(client.pid()).filter(|row| row.state == "SYN_SENT");
    wait_while_alive(client.pid(), "SYN_SENT", syn_sent);

    stopped.go_on();
    client.type_in(b"in the end\n");
    assert_eq!(client.next_output(11), b"in the end\n");
}

#[test]
fn c7_a_server_that_ends_early_is_reported() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");

    signal(child, Signal::SIGKILL);
    wait_state(addr, server.addr, "CLOSE_WAIT"); // the client still sleeps in Fgets
    client.type_in(b"anybody?\n");
    client.wait().terminated_prematurely();
}

#[test]
fn a_server_that_ends_before_a_last_line_without_a_newline_is_reported() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    signal(child, Signal::SIGKILL);
    wait_state(addr, server.addr, "CLOSE_WAIT");
    client.type_in(b"anybody?");
    client.ctrl_d_and_wait().terminated_prematurely();
}

#[test]
fn an_answer_longer_than_the_line_is_printed_whole() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
    for answer in [&b"not an echo\n"[..], b"and the next one is not, either\n"] {
        client.type_in(b"x\n");
        assert_eq!(read_bytes(&mut connfd, 2), b"x\n");
        connfd.write_all(answer).unwrap();
        assert_eq!(client.next_output(answer.len()), answer);
    }
}

#[test]
fn tcpcli_waits_for_a_non_blocking_standard_input() {
    let server = Server::start(&[]);
    for args in BOTH {
        let (input, mut keyboard) = pipe();
        fcntl(&input, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut command = tcpcli(server.addr);
        let mut client = Program::spawn(command.args(args), input, Stdio::piped());
        client.addr();
        for _ in 0..2 {
            wait_asleep(client.pid());
            keyboard.write_all(b"hello\n").unwrap();
            assert_eq!(client.next_output(6), b"hello\n");
        }
        drop(keyboard);
        assert_eq!(client.wait().code, Some(0), "{args:?}");
    }
}

#[test]
fn tcpcli_waits_for_a_non_blocking_standard_output_that_is_full() {
    let server = Server::start(&[]);
    let lines = b"0123456789abcde\n".repeat(20_000);
    for args in BOTH {
        let (mut screen, output) = pipe();
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let same = output.try_clone().unwrap();
        let mut command = tcpcli(server.addr);
        let mut client = Program::spawn(command.args(args), Stdio::piped(), output);
        let (mut keyboard, typed) = (client.take_input(), lines.clone());
        let typist = thread::spawn(move || keyboard.write_all(&typed));
        wait_until("a full pipe", || {
            let mut output = [PollFd::new(same.as_fd(), PollFlags::POLLOUT)];
            poll(&mut output, PollTimeout::ZERO).unwrap() == 0
        });
        wait_asleep(client.pid());
        drop(same);
        let mut shown = Vec::new();
        let reader = thread::spawn(move || screen.read_to_end(&mut shown).map(|_| shown));
        assert!(join("all echoes", reader).unwrap() == lines, "{args:?}");
        join("all lines to be typed", typist).unwrap();
        assert_eq!(client.wait().code, Some(0), "{args:?}");
    }
}

#[test]
fn an_echo_is_shown_although_the_next_line_is_not_complete() {
    let server = Server::start(&[]);
    let mut client = Program::tcpcli(server.addr, &[]);
    client.type_in(b"one\ntw");
    assert_eq!(client.next_output(4), b"one\n");
    client.type_in(b"o\n");
    assert_eq!(client.next_output(4), b"two\n");
}

#[test]
fn an_echo_that_ends_inside_a_line_is_printed_and_reported() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
    client.type_in(b"hello\n");
    assert_eq!(read_bytes(&mut connfd, 6), b"hello\n");
    connfd.write_all(b"hel").unwrap();
    drop(connfd);

    let ended = client.ctrl_d_and_wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hel");
}

#[test]
fn a_last_line_without_a_newline_that_comes_back_shorter_is_reported() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
    client.type_in(b"hello");
    client.ctrl_d();
    assert_eq!(rest(&mut connfd), b"hello");
    connfd.write_all(b"hell").unwrap();
    drop(connfd);

    let ended = client.wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hell");
}

#[test]
fn the_answer_to_a_last_line_without_a_newline_is_printed_whole() {
    let long = [b'y'; MAXLINE];
    for (answer, fin) in [
        (&b"you said: x\n"[..], false),
        (b"you said: x", true),
        (&long, false),
    ] {
        let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
        client.type_in(b"x");
        client.ctrl_d();
        assert_eq!(rest(&mut connfd), b"x", "then the client's FIN");
        connfd.write_all(answer).unwrap();
        if fin {
            connfd.shutdown(Shutdown::Write).unwrap(); // else the newline ends it
        }
        client.wait().succeeded(answer); // while connfd is open
    }
}

#[test]
fn a_reset_is_reported_as_a_reset() {
    for args in BOTH {
        let (mut client, mut connfd) = Program::tcpcli_with_own_server(args);
        let _server = connfd.local_addr().unwrap();
        client.type_in(b"one\n");
        assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
        connfd.write_all(b"one\n").unwrap();
        assert_eq!(client.next_output(4), b"one\n");
        client.type_in(b"two\n");
        assert_eq!(read_bytes(&mut connfd, 4), b"two\n");
        reset(connfd);

        let why = reason(Errno::ECONNRESET);
        let said = format!("tcpcli: readline error: {why}");
        client.wait().failed(&said);
    }
}

#[test]
fn tcpcli_exits_with_status_0_when_its_standard_output_is_closed() {
    let server = Server::start(&[]);
    for args in BOTH {
        let mut client = Program::tcpcli(server.addr, args);
        client.type_in(b"the line that head -1 wants\n");
        client.next_output(28);
        client.close_stdout();
        client.type_in(b"one more\n");

        client.wait().succeeded(b""); // its input is open
    }
}

#[test]
fn a_full_disk_is_reported() {
    let server = Server::start(&[]);
    for args in BOTH {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = tcpcli(server.addr);
        let mut client = Program::spawn(command.args(args), Stdio::piped(), full.unwrap());
        client.type_in(b"hello\n");

        let why = reason(Errno::ENOSPC);
        let said = format!("tcpcli: fputs error: standard output: {why}");
        client.wait().failed(&said);
    }
}

#[test]
fn an_input_that_cannot_be_read_is_reported() {
    let server = Server::start(&[]);
    for args in BOTH {
        let (_reader, writer) = pipe();
        let directory = fs::File::open("/").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (input, errno) in [
            (OwnedFd::from(directory), Errno::EISDIR),
            (writer.into(), Errno::EBADF),
            (listener.into(), Errno::ENOTCONN),
        ] {
            let mut command = tcpcli(server.addr);
            let mut client = Program::spawn(command.args(args), input, Stdio::piped());
            let why = reason(errno);
            let said = format!("tcpcli: fgets error: standard input: {why}");
            client.wait().failed(&said);
        }
    }
}

#[test]
fn tcpcli_goes_on_after_it_was_stopped() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    client.type_in(b"before\n");
    assert_eq!(client.next_output(7), b"before\n");

    // While it sleeps for a line.
    wait_reading_input(client.pid());
    stop(client.pid()).go_on();
    client.type_in(b"after\n");
    assert_eq!(client.next_output(6), b"after\n");

    // While it sleeps for an echo.
    let stopped_child = stop(child);
    client.type_in(b"after\n");
    wait_received(server.addr, client.addr(), 6);
    wait_asleep(client.pid());
    stop(client.pid()).go_on();
    stopped_child.go_on();
    assert_eq!(client.next_output(6), b"after\n");
}

#[test]
fn tcpcli_asks_the_kernel_to_find_out_that_the_servers_host_is_gone() {
    let server = Server::start(&[]);
    let (client, _) = server.tcpcli();
    let row = connection(client.addr(), server.addr).unwrap();
    assert_eq!(row.timer, 2, "the keep-alive timer");
}
