//! 客户端: what the notes say about tcpcli, and how tcpcli handles replies other than an echo.

mod common;

use common::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::read_to_string;
use unp::MAXLINE;

/// Both modes: line by line, and with --batch.
const BOTH: [&[&str]; 2] = [&[], &["--batch"]];

#[test]
fn c2_c3_the_kernel_chooses_an_address_and_connect_returns_with_both_ends_established() {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut range = range.split_whitespace().map(|port| port.parse().unwrap());
    let ephemeral = range.next().unwrap()..=range.next().unwrap();

    let server = Server::start(&[]);
    let client = Program::tcpcli(server.addr, &[]);
    wait_reading_input(client.pid()); // so connect has returned

    let row = connection_of(client.pid()).unwrap();
    assert_eq!(row.state, "ESTABLISHED");
    wait_state(server.addr, row.local, "ESTABLISHED");
    assert_eq!(row.local.ip(), server.addr.ip(), "the source address");
    assert!(ephemeral.contains(&row.local.port()), "{}", row.local);
}

#[test]
fn c4_the_client_blocks_until_a_line_is_typed_and_sends_nothing_before_that() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);

    wait_reading_input(client.pid());
    assert!(silent(&connfd));
    let bytes = io(client.pid()).rchar;
    client.type_in(b"half a li");
    wait_until("a read", || io(client.pid()).rchar == bytes + 9);
    wait_reading_input(client.pid());
    assert!(silent(&connfd), "half a line is not sent");

    client.type_in(b"ne\n");
    assert_eq!(read_bytes(&mut connfd, 12), b"half a line\n");
}

#[test]
fn c5_stop_and_wait_a_line_is_sent_after_the_echo_of_the_previous_line() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&[]);
    client.type_in(b"one\ntwo\nthr");
    // A server may send replies other than an echo.
    for (line, answer) in [(b"one\n", &b"3\n"[..]), (b"two\n", b"not an echo\n")] {
        assert_eq!(read_bytes(&mut connfd, 4), line);
        wait_reading_socket(client.pid()); // for the reply
        assert!(silent(&connfd), "the next line is not sent");
        connfd.write_all(answer).unwrap();
        // The reply is printed at once, even if part or all of the next line has been typed.
        assert_eq!(client.next_output(answer.len()), answer);
    }
}

#[test]
fn c7_a_server_that_terminates_prematurely_is_reported() {
    let server = Server::start(&[]);
    for line in [&b"anybody?\n"[..], b"anybody?"] {
        let (mut client, child) = server.tcpcli();
        client.echoes(b"hello\n");
        signal(child, Signal::SIGKILL);
        wait_state(client.addr(), server.addr, "CLOSE_WAIT");
        wait_reading_input(client.pid()); // the client has not noticed the FIN
        client.type_in(line);
        client.ctrl_d_and_wait().terminated_prematurely();
    }
}

#[test]
fn a_truncated_echo_is_printed_and_reported() {
    for (args, line, half_closes, echo) in [
        (&[][..], &b"hello\n"[..], false, &b"hel"[..]),
        (&[], b"hello", true, b"hell"),
        (&["--batch"], b"hello\n", true, b"hell"),
    ] {
        let (mut client, mut connfd) = Program::tcpcli_with_own_server(args);
        client.type_in(line);
        client.ctrl_d();
        assert_eq!(read_bytes(&mut connfd, line.len()), line);
        if half_closes {
            assert_eq!(rest(&mut connfd), b""); // all input has been sent
        }
        connfd.write_all(echo).unwrap();
        connfd.shutdown(Shutdown::Write).unwrap();
        let ended = client.wait();
        ended.terminated_prematurely();
        assert_eq!(ended.stdout, echo);
    }
}

#[test]
fn the_reply_to_a_last_line_without_a_newline_is_printed_in_full() {
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
            connfd.shutdown(Shutdown::Write).unwrap(); // otherwise the newline ends the reply
        }
        client.wait().succeeded(answer); // although connfd is still open
    }
}

/// A program that shares the terminal can leave it in non-blocking mode.
#[test]
fn tcpcli_waits_for_non_blocking_standard_input_and_output() {
    let server = Server::start(&[]);
    for args in BOTH {
        let ((input, mut keyboard), (mut screen, mut output)) = (pipe(), pipe());
        for end in [&input, &output] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        while output.write(&[b'x'; 4096]).is_ok() {} // until the pipe is full
        let mut client = Program::spawn(tcpcli(server.addr).args(args), input, output);
        client.addr();
        wait_asleep(client.pid());
        keyboard.write_all(b"hello\n").unwrap();
        drop(keyboard);
        // One write to the server, and one to the screen.
        wait_until("two writes", || io(client.pid()).syscw >= 2);
        wait_asleep(client.pid());
        let shown = thread::spawn(move || read_to_string(&mut screen).unwrap());
        let shown = join("all output", shown);
        assert_eq!(shown.trim_start_matches('x'), "hello\n");
        client.wait().succeeded(b"");
    }
}

#[test]
fn a_reset_is_reported_as_a_reset() {
    for args in BOTH {
        let (mut client, mut connfd) = Program::tcpcli_with_own_server(args);
        client.type_in(b"one\n");
        assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
        connfd.write_all(b"on").unwrap();
        reset(connfd);

        let ended = client.wait();
        let why = reason(Errno::ECONNRESET);
        ended.failed(&format!("tcpcli: readline error: {why}"));
        let prints_parts = args == ["--batch"];
        assert!(prints_parts || ended.stdout.is_empty());
    }
}

#[test]
fn tcpcli_exits_with_status_0_when_its_standard_output_is_closed() {
    let server = Server::start(&[]);
    for args in BOTH {
        let mut client = Program::tcpcli(server.addr, args);
        client.echoes(b"the line that head -1 wants\n");
        client.close_stdout();
        client.type_in(b"one more\n");

        client.wait().succeeded(b""); // with standard input still open
    }
}
