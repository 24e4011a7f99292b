//! The slow tests, with many clients or the minute of TIME_WAIT, run only on request:
//! `cargo test --release --test load -- --ignored --test-threads=1`

mod common;

use common::*;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Starts a server on all loopback addresses, because one address has too few ephemeral ports.
fn server() -> Server {
    Server::spawn(tcpserv("0.0.0.0", 0).args(["--max-clients", "0"]))
}

/// The n-th of the server's 16 addresses.
fn nth(server: &Server, n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + (n % 16) as u8], server.addr.port()))
}

/// Makes a short connection: a line, its echo, and both FINs.
fn visit(addr: SocketAddr, n: usize) {
    let mut stream = connect(addr);
    let line = format!("visitor {n}\n");
    assert_eq!(echo(&mut stream, line.as_bytes()), line.as_bytes());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"");
}

/// The memory (in kB) and the descriptors held by a parent without clients.
fn holds(server: &Server) -> (u64, Vec<i32>) {
    server.wait_children(0);
    wait_accepting(server.pid());
    let memory = status(server.pid()).vmrss.unwrap();
    let descriptors = descriptors(server.pid()).into_iter();
    let numbers = descriptors.map(|descriptor| descriptor.fd);
    (memory, numbers.collect())
}

/// Asserts that a parent holds no more descriptors after these visits than before.
fn leaves_nothing(server: &Server, visits: impl FnOnce()) {
    for n in 0..100 {
        visit(nth(server, n), n);
    }
    let (memory, descriptors) = holds(server);
    visits();
    let (memory_after, descriptors_after) = holds(server);
    assert_eq!(descriptors_after, descriptors);
    // The kernel counts pages in batches, so a few more pages are not a leak, but one page per
    // client would be.
    let more = memory_after.saturating_sub(memory);
    assert!(more <= 256, "{more} kB more");
    assert!(server.said().is_empty());
}

#[test]
#[ignore = "slow"]
fn with_max_clients_0_ten_thousand_are_served_at_the_same_time() {
    const CLIENTS: usize = 10_000;
    set_limit(Pid::this(), Resource::NOFILE, u64::MAX); // as high as allowed
    let server = server();
    leaves_nothing(&server, || {
        let name = |n: usize| format!("client {n}\n").into_bytes();
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            clients.push(connect(nth(&server, n)));
            assert_eq!(echo(&mut clients[n], &name(n)), name(n));
        }
        assert_eq!(server.children().len(), CLIENTS);
        for (n, stream) in clients.iter_mut().enumerate() {
            stream.write_all(&name(n)).unwrap();
        }
        for (n, stream) in clients.iter_mut().enumerate() {
            assert_eq!(read_bytes(stream, name(n).len()), name(n));
            assert!(silent(stream));
        }
    });
}

#[test]
#[ignore = "slow"]
fn a_hundred_thousand_connections_four_at_a_time() {
    let server = server();
    leaves_nothing(&server, || {
        thread::scope(|scope| {
            for n in 0..4 {
                let visits = (n..100_000).step_by(4);
                scope.spawn(|| visits.for_each(|n| visit(nth(&server, n / 4), n)));
            }
        });
    });
}

/// A random number below `n`.
fn random(n: usize) -> usize {
    RandomState::new().build_hasher().finish() as usize % n
}

#[test]
#[ignore = "slow"]
fn random_bytes_come_back_for_a_minute_while_other_clients_die() {
    let server = server();
    let end = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let mut stream = connect(nth(&server, random(16)));
                    let length = 16 + random(1 << 20);
                    let bytes: Vec<_> = (0..length).map(|_| random(256) as u8).collect();
                    if random(4) == 0 {
                        die(stream, &bytes, random(2) == 0);
                        continue;
                    }
                    let feeder = send_all(&stream, &bytes);
                    assert!(rest(&mut stream) == bytes);
                    feeder.join().unwrap();
                }
            });
        }
    });
    holds(&server);
    let said = server.said();
    let of_a_dead_client = |line: &String| line.starts_with("tcpserv: 127.0.0.");
    let no_other = said.iter().all(of_a_dead_client);
    assert!(no_other && !said.is_empty(), "{said:?}");
}

/// Disconnects after sending part of the data, with a reset or a close.
fn die(mut stream: TcpStream, bytes: &[u8], by_reset: bool) {
    stream.write_all(&bytes[..bytes.len() / 16]).unwrap();
    let _ = stream.read(&mut [0; 1000]).unwrap();
    if by_reset {
        reset(stream);
    }
}

#[test]
#[ignore = "slow"]
fn a20_time_wait_ends_after_2msl() {
    let server = server();
    let servaddr = nth(&server, 0);
    let mut client = Program::tcpcli(servaddr, &[]);
    let addr = client.addr();
    let stopped = stop(server.child_for(addr));
    client.ctrl_d_and_wait();
    wait_state(addr, servaddr, "FIN_WAIT_2"); // a later ACK could end TIME_WAIT (RFC 1337)
    stopped.go_on();
    wait_state(addr, servaddr, "TIME_WAIT");
    let start = Instant::now();

    while tcp_state(addr, servaddr).is_some() {
        assert!(start.elapsed() < Duration::from_secs(70));
        thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > Duration::from_secs(59));
}
