//! --max-clients and --idle-timeout.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Waits until as many connections are in the server's queue.
fn wait_queued(server: &Server, n: u64) {
    let queued = || (queued(server.addr.port()) == n).then_some(());
    wait_while_alive(server.pid(), format_args!("{n} in the queue"), queued);
}

#[test]
fn s14_at_the_limit_clients_wait_in_the_queue_and_are_served_in_their_order() {
    let server = Server::start(&["--max-clients", "2"]);
    let (first, _) = server.client();
    let (second, _) = server.client();
    let mut others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();

    wait_queued(&server, 3);
    assert_eq!(server.children().len(), 2);
    let running = syscall(server.pid()).map(|(number, _)| number);
    assert_ne!(running, Some(libc::SYS_accept4));
    let mut one_ends = |one: TcpStream, still_wait| {
        drop(one);
        let mut next = others.remove(0);
        assert_eq!(echo(&mut next, b"hello\n"), b"hello\n");
        wait_queued(&server, still_wait);
        assert!(others.iter().all(silent));
        next
    };
    let third = one_ends(first, 2);
    let fourth = one_ends(second, 1);
    let fifth = one_ends(third, 0);
    assert_eq!(server.children().len(), 2);
    drop((fourth, fifth));

    let said = server.said();
    assert_eq!(said.len(), 1, "one message for all of them: {said:?}");
    assert!(said[0].starts_with("tcpserv: "), "{said:?}");
    assert!(said[0].contains("the limit of children"), "{said:?}");
}

#[test]
fn at_the_limit_a_child_that_was_killed_makes_room_for_the_next_client() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, child) = server.client();
    let mut second = connect(server.addr);
    wait_queued(&server, 1);
    signal(child, Signal::SIGKILL);
    assert_eq!(echo(&mut second, b"hello\n"), b"hello\n");
}

#[test]
fn children_that_fork_did_not_make_are_reaped_and_not_counted() {
    let mut command = Command::new("sh");
    command.env_remove("LISTENQ");
    let script = r#"sleep 1000 & sleep 1000 & sleep 1000 & exec "$0" "$@""#;
    let server = ["-c", script, TCPSERV, "-b", "127.0.0.1", "-p", "0"];
    let server = Server::spawn(command.args(server).args(["--max-clients", "1"]));
    server.wait_children(3);
    for child in server.children() {
        signal(child, Signal::SIGKILL);
    }
    server.wait_children(0);

    let (first, _) = server.client();
    let _others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();
    wait_queued(&server, 3);
    assert_eq!(server.children().len(), 1);
    drop(first);
    wait_queued(&server, 2);
}

#[test]
fn at_the_limit_the_server_sleeps_and_costs_no_processor_time() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, _) = server.client();
    let _second = connect(server.addr);
    wait_queued(&server, 1);
    wait_asleep(server.pid());
    let woken = figure(server.pid(), "status", "voluntary_ctxt_switches");
    let used = cpu_time(server.pid());
    for _ in 0..20 {
        // A server that looks again and again would have woken up.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(
            figure(server.pid(), "status", "voluntary_ctxt_switches"),
            woken
        );
    }
    assert_eq!(cpu_time(server.pid()), used);
}

#[test]
fn at_the_limit_a_signal_that_no_child_has_sent_makes_no_room() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, _) = server.client();
    let _second = connect(server.addr);
    wait_queued(&server, 1);
    let woken = || figure(server.pid(), "status", "voluntary_ctxt_switches");
    for _ in 0..3 {
        wait_asleep(server.pid());
        let before = woken();
        signal(server.pid(), Signal::SIGCHLD);
        wait_until("the server to sleep again", || woken() > before);
    }
    assert_eq!(server.children().len(), 1);
    assert_eq!(queued(server.addr.port()), 1);
}

#[test]
fn at_the_limit_each_end_of_a_child_wakes_the_server() {
    let server = Server::start(&["--max-clients", "1"]);
    let (pid, addr) = (server.pid(), server.addr);
    // Signals that no child's end has sent, among those that one has.
    let noise = thread::spawn(move || {
        for _ in 0..2000 {
            signal(pid, Signal::SIGCHLD);
        }
    });
    let clients = (0..4).map(|_| {
        thread::spawn(move || {
            for _ in 0..100 {
                let mut stream = connect(addr);
                assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    noise.join().unwrap();
}

/// That 0 is no limit, not the default one of 4,096, load.rs shows with 10,000 clients.
#[test]
fn max_clients_0_is_not_a_limit_of_no_clients() {
    let server = Server::start(&["--max-clients", "0"]);
    let clients: Vec<_> = (0..20).map(|_| connect(server.addr)).collect();
    server.wait_children(clients.len());
    assert!(server.said().is_empty());
}

#[test]
fn a_client_that_sends_nothing_is_disconnected_after_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    let start = Instant::now();
    let child = server.child_for(client);
    let stopped = stop(server.pid()); // so that the child stays a zombie

    assert_eq!(rest(&mut stream), b"");

    assert!(start.elapsed() >= Duration::from_millis(1900));
    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    stopped.go_on();
    let said = server.wait_said("idle");
    assert_eq!(
        said,
        format!("tcpserv: {client}: str_echo: read error: idle for 2 s")
    );
    wait_until("the child to be reaped", || gone(child));
}

/// Sends all of these bytes, and reads their echo in pieces, one every 100 ms. Returns whether all came
/// back; `None` if the machine has held this test up for a second: then the result means nothing.
fn read_slowly(mut stream: TcpStream, bytes: usize, piece: usize) -> Option<bool> {
    let mut sender = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || sender.write_all(&pattern(bytes)));
    let (mut echoed, mut before) = (Vec::new(), Instant::now());
    while echoed.len() < bytes {
        let mut piece = vec![0; piece];
        let read = stream.read_exact(&mut piece);
        if before.elapsed() > Duration::from_secs(1) {
            return None;
        }
        if read.is_err() {
            return Some(false);
        }
        echoed.extend(piece);
        before = Instant::now();
        thread::sleep(Duration::from_millis(100));
    }
    join("all to be sent", feeder).unwrap();
    Some(echoed == pattern(bytes))
}

#[test]
fn a_client_that_reads_1_mb_a_second_is_served_with_an_idle_timeout_of_2_seconds() {
    let served = wait_for("seconds in which this test is not held up", || {
        let server = Server::start(&["--idle-timeout", "2"]);
        read_slowly(connect(server.addr), 5_000_000, 100_000)
    });
    assert!(served);
}

#[test]
fn a_client_that_reads_20_kb_a_second_is_served_with_30_seconds_but_not_with_2() {
    for (seconds, is_served) in [("30", true), ("2", false)] {
        let served = wait_for("seconds in which this test is not held up", || {
            let server = Server::start(&["--idle-timeout", seconds]);
            read_slowly(narrow(server.addr), 100_000, 2_000)
        });
        assert_eq!(served, is_served, "{seconds} s");
    }
}

#[test]
fn a_client_that_reads_no_echo_is_disconnected_after_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    let mut sender = stream.try_clone().unwrap();
    // It keeps sending, so it is not idle in that way.
    let feeder = thread::spawn(move || while sender.write_all(&[b'x'; 64 * 1024]).is_ok() {});
    let start = Instant::now();

    let said = server.wait_said("error");

    assert!(start.elapsed() >= Duration::from_secs(1));
    let why = reason(Errno::ETIMEDOUT);
    assert_eq!(said, format!("tcpserv: {client}: writen error: {why}"));
    server.wait_children(0);
    join("the end of the connection", feeder);
    let left = connection(server.addr, client);
    assert!(left.is_none(), "its echo is still in the kernel: {left:?}");
}
