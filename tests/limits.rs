//! --max-clients and --idle-timeout.

mod common;

use common::*;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use unp::{
    AF_INET, Accept, Bind, Close, Getsockname, Listen, SOCK_STREAM, Socket, Sockfd, Writen,
    set_idle_timeout, str_echo,
};

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
fn children_that_fork_did_not_make_are_reaped_but_neither_counted_nor_told() {
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
    assert_eq!(server.said(), [""; 0]);

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
    let server = Server::start(&["--idle-timeout", "3"]);
    let mut stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    let start = Instant::now();
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    let child = server.child_for(client);
    let stopped = stop(server.pid()); // so that the child stays a zombie

    assert_eq!(rest(&mut stream), b"");

    assert!(start.elapsed() >= Duration::from_secs(3));
    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    drop(stopped);
    let said = server.wait_said("idle");
    assert!(said.contains(&client.to_string()), "{said}");
    assert!(said.contains("idle for 3s"), "{said}");
    wait_until("the child to be reaped", || gone(child));
}

/// Calls `step` every 100 ms until it returns false. Returns false itself if the machine has held
/// this test up for a second: then its client was idle, and the result means nothing.
fn every_100_ms(mut step: impl FnMut() -> io::Result<bool>) -> bool {
    let mut before = Instant::now();
    loop {
        let now = Instant::now();
        let goes_on = step();
        if before.elapsed() > Duration::from_secs(1) {
            return false;
        }
        if !goes_on.unwrap() {
            return true;
        }
        before = now;
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_client_that_keeps_sending_stays_connected() {
    wait_until("six seconds in which this test is not held up", || {
        let server = Server::start(&["--idle-timeout", "2"]);
        let mut stream = connect(server.addr);
        let start = Instant::now();
        every_100_ms(|| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0])?;
            Ok(start.elapsed() < Duration::from_secs(6))
        })
    });
}

#[test]
fn a_client_that_reads_no_echo_is_disconnected_after_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let start = Instant::now();
    let stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    let mut sender = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        // It keeps sending, so it is not idle in that way.
        let piece = [b'x'; 64 * 1024];
        loop {
            if let Err(why) = sender.write_all(&piece) {
                return why.kind();
            }
        }
    });

    let said = server.wait_said("idle");

    assert!(start.elapsed() >= Duration::from_secs(2));
    assert!(said.contains(&client.to_string()), "{said}");
    assert!(said.contains("idle for 2s"), "{said}");
    server.wait_children(0);
    let end = join("the end of the connection", feeder);
    let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(reset.contains(&end), "{end}");
    let left = connection(server.addr, client);
    assert!(left.is_none(), "its echo is still in the kernel: {left:?}");
}

#[test]
fn an_idle_client_that_has_not_read_its_echo_gets_a_reset() {
    let server = Server::start(&["--idle-timeout", "3"]);
    let mut stream = narrow(server.addr);
    let client = stream.local_addr().unwrap();
    let child = server.child_for(client);
    // More than the client's receive buffer holds, less than the child's send buffer.
    stream.write_all(&[b'x'; 100_000]).unwrap();
    wait_reading_socket(child);
    wait_until("the child to be reaped", || gone(child));
    let left = connection(server.addr, client);
    assert!(left.is_none(), "its echo is still in the kernel: {left:?}");
}

#[test]
fn a_client_that_reads_its_echo_slowly_stays_connected() {
    // Less than the buffers hold, so the child waits for more; and more, so it waits to write.
    for total in [1_500_000, 12_000_000] {
        wait_until("five seconds in which this test is not held up", || {
            let server = Server::start(&["--idle-timeout", "2"]);
            let mut stream = connect(server.addr);
            let mut sender = stream.try_clone().unwrap();
            let feeder = thread::spawn(move || sender.write_all(&pattern(total)));
            let (mut taken, mut piece) = (Vec::new(), vec![0; total / 50]);
            let all = every_100_ms(|| {
                stream.read_exact(&mut piece)?;
                taken.extend_from_slice(&piece);
                Ok(taken.len() < total)
            });
            if all {
                assert!(taken == pattern(total));
                join("all to be sent", feeder).unwrap();
            }
            all
        });
    }
}

/// A connected pair: the library's end, and the test's.
fn pair() -> (Sockfd, TcpStream) {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0).unwrap();
    Bind(&listenfd, "127.0.0.1:0".parse().unwrap()).unwrap();
    Listen(&listenfd, 1).unwrap();
    let stream = connect(Getsockname(&listenfd).unwrap());
    (Accept(&listenfd).unwrap().0, stream)
}

/// As another library may do with a handler's socket.
fn make_non_blocking(connfd: &Sockfd) {
    SockRef::from(&connfd).set_nonblocking(true).unwrap();
}

#[test]
fn a_non_blocking_socket_waits_and_no_byte_is_lost() {
    let (connfd, mut stream) = pair();
    make_non_blocking(&connfd);
    let bytes = pattern(20_000_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            Writen(&connfd, &bytes).unwrap();
            str_echo(&connfd).unwrap(); // it waits for bytes
            unp::Shutdown(&connfd, unp::SHUT_WR).unwrap();
        });
        wait_until("a full send buffer", || {
            let mut fds = [PollFd::new(connfd.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 0
        });
        assert!(read_bytes(&mut stream, bytes.len()) == bytes);
        assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), b"");
    });
}

#[test]
fn a_non_blocking_socket_is_idle_only_after_its_timeout() {
    let (connfd, mut stream) = pair();
    make_non_blocking(&connfd);
    set_idle_timeout(&connfd, 1).unwrap();
    let start = Instant::now();
    let child = thread::spawn(move || (str_echo(&connfd), connfd));
    let (result, connfd) = join("the time-out", child);
    let error = result.unwrap_err();
    assert!(start.elapsed() >= Duration::from_secs(1));
    let why = error.downcast_ref::<io::Error>().unwrap();
    assert_eq!(
        (why.kind(), why.to_string().as_str()),
        (ErrorKind::TimedOut, "idle for 1s")
    );
    Close(connfd);
    assert_eq!(rest(&mut stream), b"");
}
