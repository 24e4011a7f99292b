//! With --trace, each line is true when printed, causes precede their effects, and the last line
//! from each process shows its current call. Nothing else changes.

mod common;

use common::trace::{Event, events, is_like, place, told};
use common::*;
use std::collections::HashMap;

const TRACE: &[&str] = &["--trace"];

/// Waits until a process's last line matches. The reader may lag behind the process.
fn wait_last(said: impl Fn() -> Vec<String>, pid: Pid, pattern: &str) {
    wait_while_alive(pid, pattern, || {
        let last = told(said(), pid).pop()?;
        is_like(&last, pattern).then_some(())
    });
}

fn server_waits(server: &Server, pid: Pid, pattern: &str) {
    wait_last(|| server.said(), pid, pattern);
}

fn client_waits(client: &Program, pattern: &str) {
    wait_last(|| client.said(), client.pid(), pattern);
}

#[test]
fn z1_z2_z3_the_last_line_shows_that_client_parent_and_child_are_blocked() {
    let server = Server::start(TRACE);
    wait_accepting(server.pid());
    server_waits(&server, server.pid(), "LISTEN: accept(*) sleeps");

    let (mut client, child) = server.tcpcli_with(TRACE);
    wait_accepting(server.pid());
    server_waits(&server, server.pid(), "LISTEN: accept(*) sleeps"); // again, after the fork
    for line in [&b"hello\n"[..], b"hello again\n"] {
        wait_reading_socket(child);
        server_waits(&server, child, "ESTABLISHED: read(*) sleeps");
        wait_reading_input(client.pid());
        client_waits(&client, ": Fgets(stdin) sleeps");
        client.echoes(line);
    }
    let stopped = stop(child);
    client.type_in(b"hello?\n");
    wait_reading_socket(client.pid());
    client_waits(&client, "ESTABLISHED: Readline(*) sleeps");
    stopped.go_on();
    assert_eq!(client.next_output(7), b"hello?\n");
}

#[test]
fn c6_z4_while_the_queue_is_full_connect_blocks_and_its_line_is_the_last() {
    let server = Server::start(&["--backlog", "0"]);
    let stopped = server.stop_accepting();
    let _first = connect(server.addr);
    let client = Program::tcpcli(server.addr, TRACE);
    wait_asleep_in(libc::SYS_connect, client.pid(), "socket:");
    show_process(client.pid(), "blocked in connect");
    client_waits(&client, &format!("CLOSED: connect(*, {})", server.addr)); // as connect began
    show_queue(server.addr.port());
    let row = connection_of(client.pid()).unwrap();
    show(&row);
    assert_eq!(row.state, "SYN_SENT");
    stopped.go_on();
    wait_reading_input(client.pid());
    client_waits(&client, ": Fgets(stdin) sleeps");
}

#[test]
fn z5_while_write_blocks_the_line_of_writen_is_the_last() {
    let server = Server::start(TRACE);
    let (mut stream, child) = server.client();
    fill(&mut stream);
    wait_writing_socket(child);
    server_waits(&server, child, "ESTABLISHED: Writen(*, * bytes)");
}

#[test]
fn at_the_client_limit_and_after_an_error_in_accept_the_last_line_shows_the_sleep() {
    let server = Server::start(&["--trace", "--max-clients", "1"]);
    let _first = connect(server.addr);
    wait_asleep_in(libc::SYS_rt_sigsuspend, server.pid(), "");
    server_waits(&server, server.pid(), ": sigsuspend sleeps");

    let server = Server::start(TRACE);
    wait_accepting(server.pid()); // accept has reserved a descriptor for one connection
    set_limit(server.pid(), Resource::NOFILE, 1);
    let _both = [connect(server.addr), connect(server.addr)];
    server_waits(&server, server.pid(), ": nanosleep sleeps for 0.1 s");
}

const SESSION: [&str; 19] = [
    "parent LISTEN: listen(*) = 0, 0 queued",
    "client CLOSED: connect(*, SERVER)",
    "parent LISTEN: accept(*) = *, 0 queued",
    "parent : fork() = CHILD, holds fd * LISTEN, fd * ESTABLISHED",
    "child : fork() = 0, holds fd * LISTEN, fd * ESTABLISHED",
    "child LISTEN: close(*), then holds fd * ESTABLISHED",
    "client : Fgets(stdin) = 6",
    "client ESTABLISHED: Writen(*, 6 bytes)",
    "child ESTABLISHED: read(*) = 6",
    "child ESTABLISHED: Writen(*, 6 bytes)",
    "client ESTABLISHED: Readline(*) = 6",
    "client : Fputs(stdout) = 0",
    "client : Fgets(stdin) = NULL",
    "client : exit(0), holds fd * ESTABLISHED",
    "client ESTABLISHED: close(*)",
    "child CLOSE_WAIT: read(*) = 0",
    "child : _exit(0), holds fd * CLOSE_WAIT",
    "child CLOSE_WAIT: close(*)",
    "client TIME_WAIT: *: * to SERVER",
];
const REAPED: [&str; 4] = [
    "parent ESTABLISHED: close(*), then holds fd * LISTEN",
    "child CLOSED: *: SERVER to *",
    "parent : waitpid(-1) = CHILD, exit status: 0",
    "parent LISTEN: accept(*) = -1, EINTR: interrupted by a signal, calling again",
];

#[test]
fn sorted_by_time_each_cause_precedes_its_effect() {
    let mut dropped = 0;
    for _ in 0..10 {
        let server = Server::start(TRACE);
        let (mut client, child) = server.tcpcli_with(TRACE);
        wait_reading_socket(child);
        wait_accepting(server.pid());
        client.echoes(b"hello\n");
        wait_reading_input(client.pid());
        wait_reading_socket(child);
        stop(child).go_on(); // a stopped child causes no SIGCHLD
        let ended = client.ctrl_d_and_wait();
        assert_eq!(ended.code, Some(0));
        server.wait_said("calling again");

        let lines = ended.stderr.lines().map(str::to_owned);
        let lines: Vec<_> = lines.chain(server.said()).collect();
        let mut events = events(&lines);
        assert_eq!(events.len(), lines.len(), "no other line");
        events.sort_by_key(|event| event.time);
        let names = HashMap::from([
            (client.pid(), "client"),
            (server.pid(), "parent"),
            (child, "child"),
        ]);
        let line = |event: &Event| {
            let line = format!("{} {}", names[&event.pid], event.what);
            let line = line.replace(&server.addr.to_string(), "SERVER");
            line.replace(&child.to_string(), "CHILD")
        };
        let told: Vec<_> = events.iter().map(line).collect();
        // On a busy machine, a late ACK may cause an RST that ends TIME_WAIT (RFC 1337).
        if told
            .iter()
            .any(|line| is_like(line, "client CLOSED: *: * to SERVER"))
        {
            dropped += 1;
            assert!(dropped < 3, "{told:#?}");
            continue;
        }
        assert_eq!(told.iter().filter(|line| line.contains("EINTR")).count(), 1);
        for chain in [&SESSION[..], &REAPED] {
            let places: Vec<_> = chain.iter().map(|event| place(&told, event)).collect();
            assert!(places.is_sorted(), "{places:?} {told:#?}");
        }
    }
}

#[test]
fn accept_shows_how_many_connections_are_queued() {
    let server = Server::start(TRACE);
    let stopped = server.stop_accepting();
    let _clients = [(); 3].map(|()| connect(server.addr));
    stopped.go_on();
    server.wait_children(3);
    server.wait_said(", 2 queued");
    server.wait_said(", 1 queued");
}

#[test]
fn a_half_close_is_printed_and_then_its_state() {
    let server = Server::start(TRACE);
    let (mut client, child) = server.tcpcli_with(TRACE);
    let addr = client.addr();
    wait_reading_socket(child);
    let stopped = stop(child);
    client.type_in(b"last");
    client.ctrl_d();
    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_reading_socket(client.pid()); // for the echo
    let stopped_client = stop(client.pid());
    stopped.go_on();
    wait_state(addr, server.addr, "TIME_WAIT");
    stopped_client.go_on();

    let ended = client.wait();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"last"[..]));
    let told = told(ended.stderr.lines(), client.pid());
    let after = place(&told, "ESTABLISHED: shutdown(*, SHUT_WR)") + 1;
    assert!(is_like(&told[after], "FIN_WAIT_*: * to *"), "{told:?}");
    // In TIME_WAIT, the connection is no longer attached to the open socket.
    place(&told, "TIME_WAIT: Readline(*) = 4");
    let last = told.last().unwrap();
    assert!(
        is_like(last, "TIME_WAIT: close(*)"),
        "no state follows: {told:?}"
    );
}

#[test]
fn batch_prints_its_calls_and_each_close_once() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli_with(&["--batch", "--trace"]);
    client.echoes(b"hello\n");
    let ended = client.ctrl_d_and_wait();
    let told = told(ended.stderr.lines(), client.pid());
    for expected in [
        ": read(stdin) = 6",
        "ESTABLISHED: Writen(*, 6 bytes)",
        "* read(*) = 6",
        ": Fputs(stdout) = 0",
        ": read(stdin) = 0",
        "* read(*) = 0",
    ] {
        place(&told, expected);
    }
    // The sending thread has its own descriptor. At exit, no close of the other descriptor is
    // printed if the kernel still counts this thread, which has just terminated.
    place(&told, "ESTABLISHED: shutdown(*, SHUT_WR)");
    place(&told, "* close(*), then holds fd *");
    let closes = told
        .iter()
        .filter_map(|what| what.split(" close(").nth(1)?.split(')').next());
    let mut closes: Vec<_> = closes.collect();
    closes.sort();
    assert!(closes.is_sorted_by(|one, next| one != next), "{told:?}");
}

#[test]
fn exit_closes_no_socket_that_another_thread_may_use() {
    let (mut client, mut connfd) = Program::tcpcli_with_own_server(&["--batch", "--trace"]);
    client.type_in(b"hello\n");
    assert_eq!(read_bytes(&mut connfd, 6), b"hello\n");
    drop(connfd); // the other thread is blocked in read on standard input
    let ended = client.wait();
    let told = told(ended.stderr.lines(), client.pid());
    let exit = place(&told, ": exit(1), holds fd *");
    assert_eq!(exit, told.len() - 1, "{told:?}");
}

#[test]
fn if_a_sandbox_hides_the_kernels_table_no_state_follows_the_close() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(command.args(TRACE), &[libc::SYS_sendto], libc::EPERM);
    let mut client = Program::spawn(&mut command, Stdio::null(), Stdio::piped());
    let ended = client.wait();
    assert_eq!(ended.code, Some(0));
    let last = told(ended.stderr.lines(), client.pid()).pop().unwrap();
    assert!(is_like(&last, "ESTABLISHED: close(*)"), "{last}");
}

#[test]
fn a_failed_call_is_printed_with_its_error() {
    let server = Server::start(&[]);
    let bound = unp::Socket(unp::AF_INET, unp::SOCK_STREAM, 0).unwrap();
    unp::Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = unp::Getsockname(&bound).unwrap();
    let second = tcpserv("127.0.0.1", server.addr.port());
    for (mut command, program, call, addr, errno) in [
        (second, "tcpserv", "bind", server.addr, Errno::EADDRINUSE),
        (
            tcpcli(nobody),
            "tcpcli",
            "connect",
            nobody,
            Errno::ECONNREFUSED,
        ),
    ] {
        let ended = run(command.args(TRACE));
        assert_eq!(ended.code, Some(1));
        let lines: Vec<_> = ended.stderr.lines().collect();
        let why = reason(errno);
        for (line, pattern) in lines[lines.len() - 3..].iter().zip([
            &format!("*\tCLOSED      {call}(*, {addr}) = -1, {why}"),
            &format!("{program}: {call} error: {addr}: {why}"),
            "* exit(1), holds no socket",
        ]) {
            assert!(is_like(line, pattern), "{line}, not {pattern}");
        }
    }

    let mut command = tcpserv("127.0.0.1", 0);
    refuse(command.args(TRACE), FORKS, libc::EAGAIN);
    let server = Server::spawn(&mut command);
    let _client = connect(server.addr);
    let why = reason(Errno::EAGAIN);
    server.wait_said(&format!("fork() = -1, {why}, holds "));
}

#[test]
fn an_expired_idle_timeout_is_printed() {
    let server = Server::start(&["--trace", "--idle-timeout", "1"]);
    let _stream = connect(server.addr);
    server.wait_said("SO_RCVTIMEO and TCP_USER_TIMEOUT, 1s) = 0");
    let read = server.wait_said(" = -1, idle for 1s");
    assert!(read.contains("\tESTABLISHED read("), "{read}");
}
