//! --max-clients and --idle-timeout.

mod common;

use common::*;
use std::io::ErrorKind;

/// Waits until the server is blocked at its limit, with `n` connections in its queue.
fn wait_at_limit(server: &Server, n: u64) {
    let what = format!("{n} queued connections");
    wait_until(what, || queued(server.addr.port()) == n);
    wait_asleep_in(libc::SYS_rt_sigsuspend, server.pid(), "");
    show_queue(server.addr.port());
}

#[test]
fn s14_at_the_limit_clients_wait_in_the_queue_and_are_served_in_order() {
    let server = Server::start(&["--max-clients", "2"]);
    let (first, _) = server.client();
    let (second, _) = server.client();
    let mut others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();
    wait_at_limit(&server, 3);

    let mut one_ends = |one: TcpStream, still_wait| {
        drop(one);
        let mut next = others.remove(0);
        assert_eq!(echo(&mut next, b"hello\n"), b"hello\n");
        show(format_args!("served next: {}", next.local_addr().unwrap()));
        wait_at_limit(&server, still_wait);
        assert_eq!(server.children().len(), 2);
        assert!(others.iter().all(silent));
        next
    };
    let third = one_ends(first, 2);
    let fourth = one_ends(second, 1);
    let fifth = one_ends(third, 0);

    // There is only one message for all waiting clients.
    server.wait_line("tcpserv: child limit reached; further clients wait");
    assert_eq!(server.said().len(), 1);

    // Below the limit, SIGCHLD interrupts accept again.
    drop(fourth);
    server.wait_children(1);
    wait_accepting(server.pid());
    drop(fifth);
    server.wait_children(0);
}

#[test]
fn at_the_limit_a_sigchld_that_is_not_from_a_child_makes_no_room() {
    let server = Server::start(&["--max-clients", "1"]);
    let (_first, _) = server.client();
    let _second = connect(server.addr);
    wait_at_limit(&server, 1);
    let before = status(server.pid()).voluntary_ctxt_switches;
    signal(server.pid(), Signal::SIGCHLD);
    let is_woken = || status(server.pid()).voluntary_ctxt_switches > before;
    wait_until("the server to sleep again", is_woken);
    wait_at_limit(&server, 1);
}

/// load.rs also shows, with 10,000 clients, that 0 does not mean the default limit of 4,096.
#[test]
fn max_clients_0_does_not_mean_no_clients() {
    let server = Server::start(&["--max-clients", "0"]);
    let _clients = [(); 20].map(|()| server.client());
    assert!(server.said().is_empty());
}

#[test]
fn a_client_that_sends_nothing_is_disconnected_after_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    let start = Instant::now();
    let stopped = stop(server.pid()); // so that the child stays a zombie

    assert_eq!(rest(&mut stream), b"");

    assert!(start.elapsed() >= Duration::from_millis(1900));
    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    stopped.go_on();
    let said = format!("tcpserv: {client}: str_echo: read error: idle for 2s");
    server.wait_line(&said);
}

#[test]
fn a_client_that_reads_no_echo_is_disconnected_after_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "2"]);
    let (stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let mut sender = stream.try_clone().unwrap();
    // The client keeps sending, so a lack of input does not cause the timeout.
    let feeder = thread::spawn(move || {
        loop {
            if let Err(why) = sender.write_all(&[b'x'; 64 * 1024]) {
                return why.kind();
            }
        }
    });
    let start = Instant::now();

    let why = reason(Errno::ETIMEDOUT);
    server.wait_line(&format!("tcpserv: {client}: writen error: {why}"));

    assert!(start.elapsed() >= Duration::from_secs(1));
    wait_until("the child to be reaped", || gone(child));
    let ended = join("the connection to be dropped", feeder);
    assert_eq!(ended, ErrorKind::ConnectionReset);
    let left = connection(server.addr, client);
    assert!(left.is_none(), "its echo is still in the kernel: {left:?}");
}

/// Both timeouts expire at about the same time.
#[test]
fn an_unread_echo_that_fits_in_the_send_buffer_is_reported_by_read() {
    let server = Server::start(&["--idle-timeout", "1"]);
    let mut stream = connect_with_buffer(server.addr, 4096);
    let client = stream.local_addr().unwrap();
    stream.write_all(&pattern(20_000)).unwrap();
    let said = server.wait_said("str_echo: read error: ");
    let error = format!("tcpserv: {client}: str_echo: read error: ");
    let why = said.strip_prefix(&error).unwrap();
    assert!(
        ["idle for 1s", &reason(Errno::ETIMEDOUT)].contains(&why),
        "{said}"
    );
}

/// Sends `bytes` bytes, and reads the echo in 50 pieces, one every 100 ms. Returns whether the
/// whole echo arrived, or `None` if the test proves nothing because it was delayed for a second.
fn reads_slowly(seconds: &str, buffer: usize, bytes: usize) -> Option<bool> {
    let server = Server::start(&["--idle-timeout", seconds]);
    let mut stream = connect_with_buffer(server.addr, buffer);
    let mut sender = stream.try_clone().unwrap();
    let _feeder = thread::spawn(move || sender.write_all(&pattern(bytes)));
    for piece in pattern(bytes).chunks(bytes / 50) {
        thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        let mut echoed = vec![0; piece.len()];
        let read = stream.read_exact(&mut echoed);
        if start.elapsed() > Duration::from_secs(1) {
            return None;
        }
        if read.is_err() {
            return Some(false);
        }
        assert!(echoed == piece);
    }
    Some(true)
}

/// With TCP_USER_TIMEOUT, the kernel drops a reader whose window stays closed for the timeout.
#[test]
fn a_slow_reader_is_served_unless_its_window_stays_closed_for_the_idle_timeout() {
    thread::scope(|scope| {
        for (seconds, buffer, bytes, is_served) in [
            ("2", 128 * 1024, 5_000_000, true), // 1 MB/s
            ("30", 4096, 100_000, true),        // 20 kB/s
            ("2", 4096, 100_000, false),
        ] {
            scope.spawn(move || {
                let what = "five seconds in which this test is not delayed";
                let served = wait_for(what, || reads_slowly(seconds, buffer, bytes));
                assert_eq!(served, is_served, "{bytes} bytes, {seconds} s");
            });
        }
    });
}
