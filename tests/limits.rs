//! --max-clients and --idle-timeout.

mod common;

use common::*;
use nix::sys::signal::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// How many connections wait in the server's queue.
fn waiting(server: &Server) -> u64 {
    listening(server.addr.port())[0].rx_queue
}

#[test]
fn s14_at_the_limit_the_queue_holds_the_others_and_each_is_served_in_its_turn() {
    let server = Server::start(&["--max-clients", "2"]);
    let (first, _) = server.client();
    let (second, _) = server.client();
    let mut others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();

    wait_until("the others to wait", || waiting(&server) == 3);
    assert_eq!(server.children().len(), 2);
    assert_ne!(
        syscall(server.pid()).map(|(number, _)| number),
        Some(nix::libc::SYS_accept4)
    );
    let mut turn = |leaves: TcpStream, still_wait| {
        drop(leaves);
        let mut next = others.remove(0);
        // First come, first served: it is this one's turn and nobody else's.
        assert_eq!(echo(&mut next, b"hello\n"), b"hello\n");
        wait_until("the rest to wait", || waiting(&server) == still_wait);
        assert!(others.iter().all(silent));
        next
    };
    let third = turn(first, 2);
    let fourth = turn(second, 1);
    let fifth = turn(third, 0);
    assert_eq!(server.children().len(), 2);
    drop((fourth, fifth));

    let limit = "2 clients, as many as --max-clients allows: others wait in the queue";
    assert_eq!(
        server.said(),
        [format!("tcpserv: {limit}")],
        "once, for all of them"
    );
}

#[test]
fn a_child_that_was_killed_makes_room_too() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, child) = server.client();
    let mut second = connect(server.addr);
    wait_until("the second to wait", || waiting(&server) == 1);
    signal(child, Signal::SIGKILL);
    assert_eq!(echo(&mut second, b"hello\n"), b"hello\n");
}

#[test]
fn at_the_limit_the_server_sleeps() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, _) = server.client();
    let _second = connect(server.addr);
    wait_until("the second to wait", || waiting(&server) == 1);
    wait_until("the server to sleep", || {
        process_state(server.pid()) == Some('S')
    });
    let woken = figure(server.pid(), "status", "voluntary_ctxt_switches");
    let used = cpu_time(server.pid());
    for _ in 0..20 {
        // What a poll would be seen by: it would have run, or slept anew.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(
            figure(server.pid(), "status", "voluntary_ctxt_switches"),
            woken
        );
    }
    assert_eq!(cpu_time(server.pid()), used);
}

#[test]
fn no_wake_up_is_lost_at_the_limit() {
    let server = Server::start(&["--max-clients", "1"]);
    let (pid, addr) = (server.pid(), server.addr);
    // Signals that tell of no child, in between those that do.
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

#[test]
fn max_clients_0_lifts_the_limit() {
    let server = Server::start(&["--max-clients", "0"]);
    let clients: Vec<_> = (0..50).map(|_| connect(server.addr)).collect();
    wait_until("50 children", || server.children().len() == clients.len());
    assert!(server.said().is_empty());
}

#[test]
fn a_client_from_which_nothing_comes_is_let_go() {
    let server = Server::start(&["--idle-timeout", "3"]);
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    let start = Instant::now();
    let child = server.children()[0];
    let still = stop(server.pid());

    assert_eq!(rest(&mut stream), b"");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(zombie_status(child), 0);
    drop(still);
    let said = server.wait_said("idle");
    assert_eq!(said, format!("tcpserv: {client}: idle for 3s: let go"));
    wait_until("the child to be gone", || gone(child));
}

#[test]
fn a_client_that_keeps_sending_is_not_cut_off() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let mut stream = connect(server.addr);
    let start = Instant::now();
    // Three times as long as it may be idle, a byte now and then.
    while start.elapsed() < Duration::from_secs(6) {
        assert_eq!(echo(&mut stream, b"x"), b"x");
        thread::sleep(Duration::from_millis(300));
    }
    assert!(server.said().is_empty());
}

#[test]
fn signals_do_not_start_the_time_anew() {
    let server = Server::start(&["--idle-timeout", "1"]);
    let mut stream = connect(server.addr);
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    let child = server.children()[0];
    let start = Instant::now();
    let pest = thread::spawn(move || {
        // Until the child is gone; for so long that it would be noticed.
        while start.elapsed() < Duration::from_secs(20)
            && nix::sys::signal::kill(child, Signal::SIGCHLD).is_ok()
        {
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(rest(&mut stream), b"");
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    pest.join().unwrap();
}

#[test]
fn a_client_that_takes_nothing_of_what_waits_for_it_is_let_go() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let (stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let mut sender = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        // Sends on and on, and so is not idle in that way.
        let piece = [b'x'; 64 * 1024];
        loop {
            if let Err(why) = sender.write_all(&piece) {
                return why.kind();
            }
        }
    });

    wait_writing_socket(child);
    let start = Instant::now();
    wait_until("the child to leave", || gone(child));
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    let said = server.wait_said("idle");
    assert_eq!(said, format!("tcpserv: {client}: idle for 2s: let go"));
    let end = feeder.join().unwrap();
    assert!(
        matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{end}"
    );
}

#[test]
fn a_client_that_takes_it_slowly_is_not() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let mut stream = connect(server.addr);
    let mut sender = stream.try_clone().unwrap();
    let total = 24 << 20;
    let feeder = thread::spawn(move || {
        sender.write_all(&vec![b'x'; total]).unwrap();
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let start = Instant::now();
    let (mut taken, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        let n = stream.read(&mut piece).unwrap();
        if n == 0 {
            break;
        }
        taken += n;
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(taken, total);
    assert!(
        start.elapsed() > Duration::from_secs(2),
        "too fast to show anything"
    );
    feeder.join().unwrap();
    assert!(server.said().is_empty());
}
