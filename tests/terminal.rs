//! Runs tcpcli in a pseudo-terminal, as a person would.

mod common;

use common::terminal::Terminal;
use common::*;

const CTRL_D: &[u8] = b"\x04";

// The terminal itself echoes what is typed, and shows \n as \r\n.

#[test]
fn one_ctrl_d_within_a_line_does_not_end_it_but_between_lines_it_terminates_tcpcli() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr), None);
    terminal.wait_reading_keys();
    let bytes = io(terminal.pid()).rchar;

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    wait_until("a read", || io(terminal.pid()).rchar == bytes + 2);
    terminal.wait_reading_keys();
    terminal.wait_shows("ab");

    terminal.keys("再见\n".as_bytes());
    terminal.wait_shows("ab再见\r\nab再见\r\n"); // one line, so no `abab`
    terminal.wait_reading_keys();
    terminal.keys(CTRL_D);
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn two_ctrl_d_within_a_line_send_what_was_typed_and_terminate_tcpcli() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr), None);
    terminal.wait_reading_keys();

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    terminal.keys(CTRL_D);

    assert_eq!(terminal.wait().code(), Some(0));
    terminal.wait_shows("abab"); // the second `ab` is the echo, with no newline added
}

#[test]
fn a_terminal_shows_each_echo_before_the_next_one_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (input, mut keyboard) = pipe();
    keyboard.write_all(b"one\ntwo\n").unwrap(); // so that one read returns both lines
    let server = listener.local_addr().unwrap();
    let terminal = Terminal::run(&mut tcpcli(server), Some(input.into()));
    let mut connfd = accept(&listener);

    let one = read_bytes(&mut connfd, 4);
    connfd.write_all(&one).unwrap();
    let two = read_bytes(&mut connfd, 4);
    terminal.wait_shows("one\r\n");
    connfd.write_all(&two).unwrap();
    terminal.wait_shows("one\r\ntwo\r\n");
}
