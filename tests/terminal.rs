//! The client in a real pseudo-terminal, as someone sits before it.

mod common;

use common::terminal::Terminal;
use common::*;
use std::io::{Read, Write};
use std::net::TcpListener;

const CTRL_D: &[u8] = b"\x04";

// The terminal itself shows what is typed, and turns \n into \r\n.

#[test]
fn typed_lines_come_back_one_by_one_and_ctrl_d_ends_it() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr), None);
    terminal.wait_reading_keys();

    terminal.keys(b"hello\n");
    terminal.wait_shows("hello\r\nhello\r\n");
    terminal.wait_reading_keys();
    terminal.keys("再见\n".as_bytes());
    terminal.wait_shows("hello\r\nhello\r\n再见\r\n再见\r\n");
    terminal.wait_reading_keys();
    terminal.keys(CTRL_D);

    assert_eq!(terminal.wait().code(), Some(0));
    terminal.wait_shows("hello\r\nhello\r\n再见\r\n再见\r\n");
}

#[test]
fn ctrl_d_in_mid_line_hands_over_the_beginning_and_the_line_goes_on() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr), None);
    let child = server.child_for(client_of(&terminal, &server));
    wait_reading_socket(child);
    terminal.wait_reading_keys();
    let before = io(child, "syscr");

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    wait_until("tcpcli to read it", || io(terminal.pid(), "rchar") >= 2);
    terminal.wait_reading_keys();
    terminal.wait_shows("ab");
    assert_eq!(io(child, "syscr"), before, "half a line is not sent");

    terminal.keys(b"cd\n");
    terminal.wait_shows("abcd\r\nabcd\r\n");
    terminal.wait_reading_keys();
    terminal.keys(CTRL_D);
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn ctrl_d_twice_in_mid_line_sends_what_there_is_and_ends_it() {
    let server = Server::start(&[]);
    let mut terminal = Terminal::run(&mut tcpcli(server.addr), None);
    terminal.wait_reading_keys();

    terminal.keys(b"ab");
    terminal.keys(CTRL_D);
    terminal.keys(CTRL_D);

    assert_eq!(terminal.wait().code(), Some(0));
    terminal.wait_shows("abab"); // the second one is the echo, with no newline added
}

#[test]
fn on_a_terminal_each_echo_shows_before_the_next_line_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (input, mut keyboard) = pipe();
    keyboard.write_all(b"one\ntwo\n").unwrap(); // so that both are read at once
    let server = listener.local_addr().unwrap();
    let mut terminal = Terminal::run(&mut tcpcli(server), Some(input.into()));
    let mut connfd = with_deadline(listener.accept().unwrap().0);

    let mut line = [0; 4];
    connfd.read_exact(&mut line).unwrap();
    connfd.write_all(&line).unwrap();
    connfd.read_exact(&mut line).unwrap();
    terminal.wait_shows("one\r\n");
    connfd.write_all(&line).unwrap();
    terminal.wait_shows("one\r\ntwo\r\n");
    drop(keyboard);
    assert_eq!(terminal.wait().code(), Some(0));
}

/// The address of the tcpcli in a terminal.
fn client_of(terminal: &Terminal, server: &Server) -> std::net::SocketAddr {
    let inodes = || sockets(terminal.pid());
    wait_for("tcpcli to be connected", || {
        let inodes = inodes();
        connections()
            .into_iter()
            .find(|row| row.remote == server.addr && inodes.contains(&row.inode))
            .map(|row| row.local)
    })
}
