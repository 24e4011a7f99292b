//! Many clients, for minutes, and the minute of TIME_WAIT. These tests run only when they are
//! asked for:
//! `cargo test --release --test load -- --ignored --test-threads=1`

mod common;

use common::*;
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A server on all loopback addresses: one address has too few ephemeral ports.
fn server(args: &[&str]) -> Server {
    Server::spawn(
        Command::new(TCPSERV)
            .args(["-p", "0", "--max-clients", "0"])
            .args(args),
    )
}

/// The n-th of its addresses.
fn nth(server: &Server, n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + (n % 16) as u8], server.addr.port()))
}

/// One short connection: a line, its echo, and the server's FIN.
fn visit(addr: SocketAddr, n: usize) {
    let mut stream = connect(addr);
    let line = format!("visitor {n}\n");
    assert_eq!(echo(&mut stream, line.as_bytes()), line.as_bytes());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"");
}

/// What a parent holds, which must not grow with its clients.
#[derive(Debug)]
struct Holds {
    memory_kb: u64,
    descriptors: Vec<(i32, String)>,
}

impl Holds {
    fn must_be_like(&self, before: &Holds) {
        assert_eq!(self.descriptors, before.descriptors);
        // The kernel counts pages in batches: a few more are no leak, one for each of
        // thousands of clients is one.
        let (now, then) = (self.memory_kb, before.memory_kb);
        assert!(now <= then + 256, "{then} kB before, {now} kB after");
    }
}

fn holds(server: &Server) -> Holds {
    server.wait_children(0);
    wait_accepting(server.pid());
    Holds {
        memory_kb: figure(server.pid(), "status", "VmRSS"),
        descriptors: descriptors(server.pid()),
    }
}

#[test]
#[ignore = "heavy"]
fn with_max_clients_0_ten_thousand_are_served_at_the_same_time() {
    const CLIENTS: usize = 10_000;
    set_limit(Pid::this(), nix::libc::RLIMIT_NOFILE, None); // as high as it may be
    let server = server(&[]);
    for n in 0..100 {
        visit(nth(&server, n), n);
    }
    let before = holds(&server);

    let name = |n: usize| format!("client {n}\n").into_bytes();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let mut stream = connect(nth(&server, n));
            assert_eq!(echo(&mut stream, &name(n)), name(n));
            stream
        })
        .collect();
    assert_eq!(server.children().len(), CLIENTS);
    for (n, stream) in clients.iter_mut().enumerate() {
        stream.write_all(&name(n)).unwrap();
    }
    for (n, stream) in clients.iter_mut().enumerate() {
        let mut line = vec![0; name(n).len()];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(line, name(n));
        assert!(silent(stream));
    }
    drop(clients);

    holds(&server).must_be_like(&before);
    assert!(server.said().is_empty());
}

/// 100,000 connections, so many at a time.
fn a_hundred_thousand(clients: usize) {
    const CONNECTIONS: usize = 100_000;
    let server = server(&[]);
    for n in 0..100 {
        visit(nth(&server, n), n);
    }
    let before = holds(&server);

    thread::scope(|scope| {
        for client in 0..clients {
            let server = &server;
            scope.spawn(move || {
                for n in (client..CONNECTIONS).step_by(clients) {
                    visit(nth(server, n / clients), n);
                }
            });
        }
    });

    holds(&server).must_be_like(&before);
    assert!(server.said().is_empty());
}

#[test]
#[ignore = "heavy"]
fn a_hundred_thousand_connections_one_at_a_time() {
    a_hundred_thousand(1);
}

#[test]
#[ignore = "heavy"]
fn a_hundred_thousand_connections_four_at_a_time() {
    a_hundred_thousand(4);
}

/// Marsaglia's xorshift: bytes and sizes that vary.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 32) as u8).collect()
    }
}

#[test]
#[ignore = "heavy"]
fn random_bytes_come_back_for_a_minute_while_other_clients_die() {
    const CLIENTS: u64 = 24;
    let server = server(&[]);
    let end = Instant::now() + Duration::from_secs(60);
    let [survived, died] = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for client in 1..=CLIENTS {
            let (server, survived, died) = (&server, &survived, &died);
            scope.spawn(move || {
                let mut random = Random(client * 0x9E37_79B9_7F4A_7C15);
                while Instant::now() < end {
                    let (addr, seed) = (nth(server, random.below(16)), random.next());
                    if random.below(4) == 0 {
                        die(addr, seed);
                        died.fetch_add(1, Ordering::Relaxed);
                    } else {
                        survive(addr, seed);
                        survived.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let [survived, died] = [survived, died].map(AtomicU64::into_inner);
    println!("{survived} survived, {died} died");
    assert!(survived > CLIENTS && died > CLIENTS);
    holds(&server);
    assert!(server.is_alive());
    let of_a_dead_client = |line: &String| line.contains("error: 127.0.0.");
    assert!(
        server.said().iter().all(of_a_dead_client),
        "{:?}",
        server.said()
    );
}

/// Sends up to a megabyte in pieces of random size, and reads its echo at the same time.
fn survive(addr: SocketAddr, seed: u64) {
    let mut random = Random(seed);
    let length = 1 + random.below(1 << 20);
    let bytes = random.bytes(length);
    let mut stream = connect(addr);
    let mut sender = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(seed);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = [10, 1000, 100_000][random.below(3)];
                let (piece, others) = rest.split_at((1 + random.below(most)).min(rest.len()));
                sender.write_all(piece).unwrap();
                rest = others;
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        assert!(rest(&mut stream) == bytes);
    });
}

/// Ends in the middle of its data, by a reset or by a close.
fn die(addr: SocketAddr, seed: u64) {
    let mut random = Random(seed);
    let mut stream = connect(addr);
    let length = random.below(60_000);
    stream.write_all(&random.bytes(length)).unwrap();
    let mut some = vec![0; 1 + random.below(length + 1)];
    if length > 0 && random.below(2) == 0 {
        assert!(stream.read(&mut some).unwrap() > 0);
    }
    if random.below(2) == 0 {
        reset(stream);
    }
}

#[test]
#[ignore = "heavy"]
fn a20_time_wait_ends_after_2msl() {
    let server = server(&[]);
    let servaddr = nth(&server, 0);
    let mut client = Program::tcpcli(servaddr, &[]);
    let addr = client.addr();
    client.ctrl_d_and_wait();
    wait_state(addr, servaddr, "TIME_WAIT");
    let start = Instant::now();

    while tcp_state(addr, servaddr) == Some("TIME_WAIT") {
        assert!(start.elapsed() < Duration::from_secs(70));
        thread::sleep(Duration::from_millis(100));
    }

    assert_eq!(tcp_state(addr, servaddr), None, "CLOSED");
    assert!(start.elapsed() > Duration::from_secs(59));
}
