//! When things go wrong: each fault concerns whom it concerns, and nobody else.

mod common;

use common::terminal::Terminal;
use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid};
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// That the server serves: the clients it has, and a new one.
fn all_is_well(server: &mut Server, others: &mut [TcpStream]) {
    for other in others {
        assert_eq!(echo(other, b"still here\n"), b"still here\n");
    }
    assert_eq!(
        echo(&mut connect(server.addr), b"just come\n"),
        b"just come\n"
    );
    assert!(server.is_alive());
}

#[test]
fn a_reset_in_mid_line() {
    let mut server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    assert_eq!(echo(&mut stream, b"half a li"), b"half a li");
    wait_reading_socket(child);
    let still = stop(server.pid()); // nobody reaps the child before we have looked

    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);

    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    drop(still);
    let why = "Connection reset by peer (os error 104)";
    let said = server.wait_said("error");
    assert_eq!(
        said,
        format!("tcpserv: str_echo: read error: {client}: {why}")
    );
    wait_until("the child to be gone", || gone(child));
    all_is_well(&mut server, &mut others);
}

#[test]
fn a_client_that_resets_while_its_echo_is_written() {
    let mut server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    fill(&mut stream);
    wait_writing_socket(child);

    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);

    let said = server.wait_said("error");
    let why = "Connection reset by peer (os error 104)";
    assert_eq!(said, format!("tcpserv: writen error: {client}: {why}"));
    wait_until("the child to be gone", || gone(child));
    all_is_well(&mut server, &mut []);
}

#[test]
fn a_client_that_resets_before_it_is_accepted() {
    let mut server = Server::start(&[]);
    wait_accepting(server.pid());
    let still = stop(server.pid());
    let stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    wait_state(server.addr, client, None);
    drop(still);
    let said = server.wait_said(&client.to_string());
    let why = "Connection reset by peer (os error 104)";
    assert_eq!(
        said,
        format!("tcpserv: str_echo: read error: {client}: {why}")
    );
    all_is_well(&mut server, &mut []);
}

#[test]
fn a_client_that_is_killed() {
    let mut server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    let (mut client, child) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");

    signal(client.pid(), Signal::SIGKILL);

    wait_until("the child to be gone", || gone(child));
    all_is_well(&mut server, &mut others);
    assert!(server.said().is_empty(), "the kernel closed it as always");
}

#[test]
fn a_child_that_is_killed() {
    let mut server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    for (how, name) in [
        (Signal::SIGKILL, "9 (SIGKILL)"),
        (Signal::SIGTERM, "15 (SIGTERM)"),
    ] {
        let (mut client, child) = server.tcpcli();
        client.type_in(b"hello\n");
        assert_eq!(client.printed(6), b"hello\n");

        signal(child, how);

        server.wait_said(&format!(
            "tcpserv: child {child} was killed by signal {name}"
        ));
        client.type_in(b"hello?\n");
        client.wait().terminated_prematurely();
    }
    all_is_well(&mut server, &mut others);
    assert_eq!(server.said().len(), 2);
}

#[test]
fn a_child_that_is_killed_by_a_signal_without_a_name() {
    let server = Server::start(&[]);
    let (_stream, child) = server.client();
    let number = libc::SIGRTMIN() + 3;
    // SAFETY: a system call that takes two numbers.
    assert_eq!(unsafe { libc::kill(child.as_raw(), number) }, 0);
    server.wait_said(&format!(
        "child {child} was killed by signal {number} (real-time)"
    ));
    wait_until("it to be reaped", || gone(child));
}

#[test]
fn a_half_close() {
    let mut server = Server::start(&[]);
    let (mut stream, child) = server.client();
    stream.write_all(b"the last word").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"the last word");
    wait_until("the child to be gone", || gone(child));
    all_is_well(&mut server, &mut []);
    assert!(server.said().is_empty());
}

#[test]
fn a_client_that_does_not_read_while_50_mb_wait_for_it() {
    const BYTES: usize = 50_000_000;
    let mut server = Server::start(&[]);
    let (stream, child) = server.client();
    let mut sender = stream.try_clone().unwrap();
    let pattern = |n: usize| (n / 3) as u8;
    let feeder = thread::spawn(move || {
        let all: Vec<u8> = (0..BYTES).map(pattern).collect();
        sender.write_all(&all).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    wait_writing_socket(child);
    wait_until("the sender to be stuck as well", || {
        connection(stream.local_addr().unwrap(), server.addr).is_some_and(|row| row.tx_queue > 0)
    });

    let mut others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();
    all_is_well(&mut server, &mut others);

    let mut stream = stream;
    let echoed = rest(&mut stream);
    assert_eq!(echoed.len(), BYTES);
    assert!(
        echoed
            .iter()
            .enumerate()
            .all(|(n, &byte)| byte == pattern(n))
    );
    feeder.join().unwrap();
}

#[test]
fn a_client_that_sends_one_byte_at_a_time() {
    let server = Server::start(&[]);
    let mut stream = connect(server.addr);
    stream.set_nodelay(true).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        for n in 0..5000u32 {
            sender.write_all(&[n as u8]).unwrap();
        }
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let expected: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
    assert!(rest(&mut stream) == expected);
    feeder.join().unwrap();
}

#[test]
fn a_client_that_connects_and_says_nothing() {
    let mut server = Server::start(&[]);
    let (silent_one, child) = server.client();
    wait_reading_socket(child);
    let used = cpu_time(child);
    all_is_well(&mut server, &mut []);
    assert_eq!(cpu_time(child), used, "it costs nothing while it sleeps");
    assert!(silent(&silent_one));
    drop(silent_one);
    wait_until("the child to be gone", || gone(child));
}

#[test]
fn fork_refused() {
    // Root is above this limit, so then the server is another user's.
    let user = Uid::effective()
        .is_root()
        .then(|| 60_000 + std::process::id() % 5000);
    let mut server = server_of(user);
    let mut others = [connect(server.addr)];
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");
    // Of its user's processes none more.
    limit_processes(user, server.pid(), Some(0));

    let ended = Client::start(server.addr, &[]).feed(b"hello?\n");
    assert_eq!(
        ended.code,
        Some(1),
        "also for a client that has sent something"
    );
    for _ in 0..2 {
        let mut refused = connect(server.addr);
        let client = refused.local_addr().unwrap();
        assert_eq!(rest(&mut refused), b"", "closed, and at once");
        let why = "Resource temporarily unavailable (os error 11)";
        let said = server.wait_said(&client.to_string());
        assert_eq!(said, format!("tcpserv: fork error: {client}: {why}"));
    }
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");

    limit_processes(user, server.pid(), None);
    all_is_well(&mut server, &mut others);
}

/// A tcpserv of the given user, or of the test's own.
fn server_of(user: Option<u32>) -> Server {
    let arguments = ["-p", "0", "-b", "127.0.0.1"];
    let Some(user) = user else {
        return Server::spawn(Command::new(TCPSERV).args(arguments));
    };
    // Another user may not go where the program was built.
    let copy = std::env::temp_dir().join(format!("tcpserv-{user}"));
    fs::copy(TCPSERV, &copy).unwrap();
    let mut command = Command::new(&copy);
    command
        .arg0("tcpserv")
        .args(arguments)
        .uid(user)
        .gid(user)
        .current_dir("/");
    let server = Server::spawn(&mut command);
    fs::remove_file(copy).unwrap();
    server
}

/// Sets how many processes the user of a running process may have; `None` lifts it.
/// Even root may need to be that user to set it.
fn limit_processes(user: Option<u32>, pid: Pid, soft: Option<u64>) {
    let Some(user) = user else {
        set_limit(pid, libc::RLIMIT_NPROC, soft);
        return;
    };
    let set = move || {
        set_limit(pid, libc::RLIMIT_NPROC, soft);
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls, no more.
    let command = unsafe {
        Command::new("true")
            .uid(user)
            .gid(user)
            .pre_exec(set)
            .status()
    };
    assert!(command.unwrap().success());
}

#[test]
fn no_descriptor_left() {
    let mut server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");
    wait_accepting(server.pid());
    let used = cpu_time(server.pid());
    let start = Instant::now();
    let has = descriptors(server.pid());
    let lowest_free = (0..).find(|n| has.iter().all(|(fd, _)| fd != n)).unwrap();
    let before = set_limit(server.pid(), libc::RLIMIT_NOFILE, Some(lowest_free as u64));

    // The accept in which it sleeps took its descriptor before it went to sleep.
    let mut last = connect(server.addr);
    assert_eq!(echo(&mut last, b"hello\n"), b"hello\n");
    let mut waiting = [connect(server.addr), connect(server.addr)];
    let why = "Too many open files (os error 24)";
    let said = server.wait_said("accept");
    assert_eq!(
        said,
        format!("tcpserv: accept error: {}: {why}", server.addr)
    );
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");
    // It tries again and again, and between two tries it sleeps.
    let switches = figure(server.pid(), "status", "voluntary_ctxt_switches");
    wait_until("some tries", || {
        figure(server.pid(), "status", "voluntary_ctxt_switches") > switches + 5
    });
    assert!(silent(&waiting[0]) && silent(&waiting[1]));
    let (used, elapsed) = (cpu_time(server.pid()) - used, start.elapsed());
    assert!(used < elapsed / 5, "{used:?} of {elapsed:?}");

    set_limit(server.pid(), libc::RLIMIT_NOFILE, Some(before));
    for stream in &mut waiting {
        assert_eq!(echo(stream, b"at last\n"), b"at last\n");
    }
    all_is_well(&mut server, &mut others);
    assert_eq!(server.said().len(), 1, "said once");
}

#[test]
fn the_listening_queue_overflows() {
    let mut server = Server::start(&["--backlog", "2"]);
    wait_accepting(server.pid());
    let still = stop(server.pid());
    // One after the other: of two at once, both may find the last place free.
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let mut client = Client::start(server.addr, &[]);
            client.type_in(format!("client {n}\n").as_bytes());
            let state = if n < 3 { "ESTABLISHED" } else { "SYN_SENT" };
            wait_until(format_args!("client {n} to be in {state}"), || {
                let in_queue = listening(server.addr.port())[0].rx_queue;
                in_queue == 3.min(n + 1)
                    && connection_of(client.pid()).is_some_and(|row| row.state == state)
            });
            client
        })
        .collect();

    drop(still);
    for (n, mut client) in clients.into_iter().enumerate() {
        let ended = client.finish();
        assert_eq!(ended.stdout, format!("client {n}\n").as_bytes());
        assert_eq!(ended.code, Some(0));
    }
    all_is_well(&mut server, &mut []);
}

#[test]
fn the_parent_is_killed_and_the_children_serve_on() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let _port = server.addr.port().to_string();

    server.end(Signal::SIGTERM);

    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    let again = || Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    let mut again = again();
    assert_eq!(again.addr, server.addr);
    all_is_well(&mut again, &mut []);
    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"");
    wait_until("the child to end", || {
        matches!(process_state(child), None | Some('Z'))
    });
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let server = Server::start(&[]);
    let port = server.addr.port().to_string();
    let output = run(Command::new(TCPSERV).args(["-b", "127.0.0.1", "-p", &port]));
    assert_eq!(output.code, Some(1));
    let why = "Address already in use (os error 98)";
    let said = output.stderr;
    assert_eq!(
        said,
        format!("tcpserv: bind error: 127.0.0.1:{port}: {why}\n")
    );
    assert!(server.is_alive());
}

#[test]
fn ctrl_c_at_the_terminal_ends_the_whole_group() {
    let mut terminal = Terminal::run(&mut tcpserv("127.0.0.1", 0), None);
    let addr: SocketAddr = wait_for("the server to listen", || {
        let screen = terminal.screen();
        let addr = screen
            .strip_prefix("tcpserv: listening on ")?
            .strip_suffix("\r\n")?;
        Some(addr.parse().unwrap())
    });
    let mut streams = [connect(addr), connect(addr)];
    for stream in &mut streams {
        assert_eq!(echo(stream, b"hello\n"), b"hello\n");
    }
    let family: Vec<Pid> = children(terminal.pid());
    assert_eq!(family.len(), 2);

    terminal.keys(b"\x03");

    assert_eq!(terminal.wait().code(), None, "a signal");
    for child in family {
        wait_until("the children to end", || {
            matches!(process_state(child), None | Some('Z'))
        });
    }
    for stream in &mut streams {
        assert_eq!(rest(stream), b"");
    }
    terminal.wait_shows(&format!("tcpserv: listening on {addr}\r\n^C"));
}

#[test]
fn parent_and_child_stopped_and_continued() {
    let mut server = Server::start(&[]);
    let (mut stream, child) = server.client();
    for _ in 0..3 {
        wait_accepting(server.pid());
        wait_reading_socket(child);
        let still = (stop(server.pid()), stop(child));
        stream.write_all(b"hello\n").unwrap();
        let mut newcomer = connect(server.addr);
        newcomer.write_all(b"hello\n").unwrap();
        assert!(silent(&stream) && silent(&newcomer));
        drop(still);
        let mut line = [0; 6];
        stream.read_exact(&mut line).unwrap();
        newcomer.read_exact(&mut line).unwrap();
    }
    all_is_well(&mut server, &mut [stream]);
    assert!(server.said().is_empty());
}

#[test]
fn harmless_signals_by_the_thousand() {
    let mut server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let parent = server.pid();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let harmless = [
                Signal::SIGCHLD,
                Signal::SIGWINCH,
                Signal::SIGURG,
                Signal::SIGCONT,
            ];
            let mut sent = 0;
            while sent < 5000 || !done.load(Ordering::Relaxed) {
                for harmless in harmless {
                    signal(parent, harmless);
                    signal(child, harmless);
                }
                sent += harmless.len();
            }
        });
        for n in 0..300 {
            let line = format!("line {n}\n").repeat(1 + n % 50);
            assert_eq!(echo(&mut stream, line.as_bytes()), line.as_bytes());
            let mut newcomer = connect(server.addr);
            assert_eq!(echo(&mut newcomer, line.as_bytes()), line.as_bytes());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(server.said().is_empty());
    let mut streams = [stream];
    all_is_well(&mut server, &mut streams);
    drop(streams);
    wait_until("no zombie", || server.children().is_empty());
}
