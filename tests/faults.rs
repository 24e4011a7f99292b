//! When things go wrong: a client's fault ends only its own connection.

mod common;

use common::terminal::{Terminal, pty};
use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{Pid, Uid};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Asserts that the server still serves its clients, and a new one.
fn serves_others(server: &Server, others: &mut [TcpStream]) {
    for other in others {
        assert_eq!(echo(other, b"still here\n"), b"still here\n");
    }
    let mut new = connect(server.addr);
    assert_eq!(echo(&mut new, b"just come\n"), b"just come\n");
    assert!(server.is_alive());
}

#[test]
fn a_reset_inside_a_line_ends_one_child_with_a_message_and_status_1() {
    let server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    assert_eq!(echo(&mut stream, b"half a li"), b"half a li");
    wait_reading_socket(child);
    let stopped = stop(server.pid()); // so that the child stays a zombie

    reset(stream);

    assert_eq!(zombie_status(child), 1 << 8, "exit status 1");
    stopped.go_on();
    let why = reason(Errno::ECONNRESET);
    let said = server.wait_said("error");
    let expected = format!("tcpserv: {client}: str_echo: read error: {why}");
    assert_eq!(said, expected);
    wait_until("the child to be reaped", || gone(child));
    serves_others(&server, &mut others);
}

#[test]
fn a_reset_while_the_echo_is_written_ends_one_child_with_a_message() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    fill(&mut stream);
    wait_writing_socket(child);

    reset(stream);

    let said = server.wait_said("error");
    let why = reason(Errno::ECONNRESET);
    assert_eq!(said, format!("tcpserv: {client}: writen error: {why}"));
    wait_until("the child to be reaped", || gone(child));
    serves_others(&server, &mut []);
}

#[test]
fn a_reset_before_accept_is_reported_by_the_child() {
    let server = Server::start(&[]);
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let stream = connect(server.addr);
    let client = stream.local_addr().unwrap();
    reset(stream);
    wait_state(server.addr, client, None);
    stopped.go_on();
    let said = server.wait_said(&client.to_string());
    let why = reason(Errno::ECONNRESET);
    let expected = format!("tcpserv: {client}: str_echo: read error: {why}");
    assert_eq!(said, expected);
    serves_others(&server, &mut []);
}

#[test]
fn a_client_that_is_killed_ends_like_any_other() {
    let server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    let (mut client, child) = server.tcpcli();
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");

    signal(client.pid(), Signal::SIGKILL);

    wait_until("the child to be reaped", || gone(child));
    serves_others(&server, &mut others);
    assert!(server.said().is_empty(), "the kernel sent the FIN");
}

#[test]
fn a_child_that_is_killed_is_reported_and_so_is_its_end_to_its_client() {
    let server = Server::start(&[]);
    let mut others = [connect(server.addr)];
    for (how, name) in [
        (Signal::SIGKILL, "9 (SIGKILL)"),
        (Signal::SIGTERM, "15 (SIGTERM)"),
    ] {
        let (mut client, child) = server.tcpcli();
        client.type_in(b"hello\n");
        assert_eq!(client.next_output(6), b"hello\n");

        signal(child, how);

        let said = server.wait_said(&format!("tcpserv: child {child} "));
        assert!(said.contains(name), "{said}");
        client.type_in(b"hello?\n");
        client.wait().terminated_prematurely();
    }
    serves_others(&server, &mut others);
    assert_eq!(server.said().len(), 2);
}

#[test]
fn a_child_that_is_killed_by_a_real_time_signal_is_reported() {
    let server = Server::start(&[]);
    let (_stream, child) = server.client();
    let number = libc::SIGRTMIN() + 3;
    // SAFETY: a system call that takes two numbers.
    assert_eq!(unsafe { libc::kill(child.as_raw(), number) }, 0);
    let said = server.wait_said(&format!("tcpserv: child {child} "));
    assert!(said.contains(&format!(" {number}")), "{said}");
    wait_until("the child to be reaped", || gone(child));
}

#[test]
fn after_a_half_close_the_rest_of_the_echo_comes() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    stream.write_all(b"the last word").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"the last word");
    wait_until("the child to be reaped", || gone(child));
    serves_others(&server, &mut []);
    assert!(server.said().is_empty());
}

#[test]
fn a_client_that_does_not_read_while_50_mb_wait_for_it_delays_no_other() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let sent = pattern(50_000_000);
    let (mut sender, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let feeder = thread::spawn(move || {
        sender.write_all(&bytes).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    wait_writing_socket(child);
    let client = stream.local_addr().unwrap();
    let is_full = || connection(client, server.addr).filter(|row| row.tx_queue > 0);
    wait_while_alive(child, "the client's send buffer to be full", is_full);

    let mut others: Vec<_> = (0..3).map(|_| connect(server.addr)).collect();
    serves_others(&server, &mut others);

    assert!(rest(&mut stream) == sent);
    feeder.join().unwrap();
}

#[test]
fn bytes_that_are_sent_one_at_a_time_come_back_in_order() {
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
fn a_client_that_sends_nothing_costs_no_processor_time() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();
    wait_reading_socket(child);
    let used = cpu_time(child);
    serves_others(&server, &mut []);
    assert_eq!(cpu_time(child), used);
    assert!(silent(&stream));
    drop(stream);
    wait_until("the child to be reaped", || gone(child));
}

#[test]
fn when_fork_is_refused_the_client_is_closed_and_the_others_are_served() {
    // The limit does not hold root, so then the server is another user's.
    let is_root = Uid::effective().is_root();
    let user = is_root.then(|| 60_000 + std::process::id() % 5000);
    let server = server_of(user);
    let mut others = [connect(server.addr)];
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");
    limit_processes(user, server.pid(), Some(0));

    let ended = Program::tcpcli(server.addr, &[]).feed(b"hello?\n");
    assert_eq!(ended.code, Some(1), "it had sent a line");
    for _ in 0..2 {
        let mut refused = connect(server.addr);
        let client = refused.local_addr().unwrap();
        assert_eq!(rest(&mut refused), b"");
        let said = server.wait_said(&client.to_string());
        let why = reason(Errno::EAGAIN);
        assert_eq!(said, format!("tcpserv: {client}: fork error: {why}"));
    }
    assert_eq!(echo(&mut others[0], b"hello\n"), b"hello\n");

    limit_processes(user, server.pid(), None);
    serves_others(&server, &mut others);
}

/// A tcpserv of the given user, or of the test's own.
fn server_of(user: Option<u32>) -> Server {
    let Some(user) = user else {
        return Server::start(&[]);
    };
    // Another user may not enter the directory of the program, but may execute what is open.
    let program = File::open(TCPSERV).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0("tcpserv").args(["-p", "0", "-b", "127.0.0.1"]);
    Server::spawn(command.uid(user).gid(user).current_dir("/"))
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
    let mut command = Command::new("true");
    command.uid(user).gid(user);
    // SAFETY: between fork and exec it makes two system calls, no more.
    run(unsafe { command.pre_exec(set) }).succeeded(b"");
}

#[test]
fn without_a_free_descriptor_the_server_waits_for_one() {
    let server = Server::start(&[]);
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
    let why = reason(Errno::EMFILE);
    let said = server.wait_said("accept");
    assert_eq!(said, format!("tcpserv: accept error: {why}"));
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
    serves_others(&server, &mut others);
    assert_eq!(server.said().len(), 1, "one message for all tries");
}

#[test]
fn clients_that_find_the_queue_full_are_served_later() {
    let server = Server::start(&["--backlog", "2"]);
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    // One after the other: of two at once, both may find the last place free.
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let mut client = Program::tcpcli(server.addr, &[]);
            client.type_in(format!("client {n}\n").as_bytes());
            let state = if n < 3 { "ESTABLISHED" } else { "SYN_SENT" };
            let is_there = || {
                let row = connection_of(client.pid()).filter(|row| row.state == state);
                row.filter(|_| queued(server.addr.port()) == 3.min(n + 1))
            };
            wait_while_alive(client.pid(), state, is_there);
            client
        })
        .collect();

    stopped.go_on();
    for (n, mut client) in clients.into_iter().enumerate() {
        client
            .ctrl_d_and_wait()
            .succeeded(format!("client {n}\n").as_bytes());
    }
    serves_others(&server, &mut []);
}

#[test]
fn when_the_parent_is_killed_its_children_serve_on_and_a_new_server_can_start() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();

    server.end(Signal::SIGTERM);

    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    let again = Server::spawn(&mut tcpserv("127.0.0.1", server.addr.port()));
    assert_eq!(again.addr, server.addr);
    serves_others(&again, &mut []);
    assert_eq!(echo(&mut stream, b"orphaned\n"), b"orphaned\n");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"");
    wait_until("the child to end", || ended(child));
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let server = Server::start(&[]);
    let ended = run(&mut tcpserv("127.0.0.1", server.addr.port()));
    let why = reason(Errno::EADDRINUSE);
    ended.failed(&format!("tcpserv: bind error: {}: {why}", server.addr));
    assert!(server.is_alive());
}

#[test]
fn ctrl_c_at_the_terminal_ends_the_server_and_its_children() {
    let mut terminal = Terminal::run(&mut tcpserv("127.0.0.1", 0), None);
    let addr: SocketAddr = wait_while_alive(terminal.pid(), "the server to listen", || {
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
    let children = children(terminal.pid());
    assert_eq!(children.len(), 2);

    terminal.keys(b"\x03");

    assert_eq!(terminal.wait().code(), None, "a signal");
    for child in children {
        wait_until("the children to end", || ended(child));
    }
    for stream in &mut streams {
        assert_eq!(rest(stream), b"");
    }
    terminal.wait_shows(&format!("tcpserv: listening on {addr}\r\n^C"));
}

#[test]
fn parent_and_child_go_on_after_they_were_stopped() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    for _ in 0..3 {
        wait_accepting(server.pid());
        wait_reading_socket(child);
        let stopped = [stop(server.pid()), stop(child)];
        stream.write_all(b"hello\n").unwrap();
        let mut newcomer = connect(server.addr);
        newcomer.write_all(b"hello\n").unwrap();
        assert!(silent(&stream) && silent(&newcomer));
        stopped.into_iter().for_each(Stopped::go_on);
        assert_eq!(read_bytes(&mut stream, 6), b"hello\n");
        assert_eq!(read_bytes(&mut newcomer, 6), b"hello\n");
    }
    serves_others(&server, &mut [stream]);
    assert!(server.said().is_empty());
}

#[test]
fn thousands_of_harmless_signals_disturb_nothing() {
    let server = Server::start(&[]);
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
            let (start, mut sent) = (Instant::now(), 0);
            let goes_on = |sent| sent < 5000 || !done.load(Ordering::Relaxed);
            while goes_on(sent) && start.elapsed() < DEADLINE {
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
    serves_others(&server, &mut streams);
    drop(streams);
    server.wait_children(0);
}

#[test]
#[cfg_attr(target_arch = "x86", ignore = "accept is a part of socketcall")]
fn an_accept_that_a_sandbox_refuses_is_reported_once_and_tried_again_now_and_then() {
    // Without getsockopt the server cannot know whether its socket listens.
    for calls in [
        &[libc::SYS_accept4][..],
        &[libc::SYS_accept4, libc::SYS_getsockopt],
    ] {
        let mut command = tcpserv("127.0.0.1", 0);
        refuse(&mut command, calls, libc::EPERM);
        let server = Server::spawn(&mut command);
        let why = reason(Errno::EPERM);
        let said = server.wait_said("accept error");
        assert_eq!(said, format!("tcpserv: accept error: {why}"));
        let tries = || figure(server.pid(), "status", "voluntary_ctxt_switches");
        let (start, before, used) = (Instant::now(), tries(), cpu_time(server.pid()));
        wait_until("some tries", || tries() > before + 5);
        let (used, elapsed) = (cpu_time(server.pid()) - used, start.elapsed());
        assert!(used < elapsed / 5, "{used:?} of {elapsed:?}");
        assert!(elapsed.as_millis() >= 400, "a try each 100 ms: {elapsed:?}");
        assert_eq!(server.said().len(), 1);
    }
}

#[test]
fn a_host_without_a_family_is_reported() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(&mut command, &[libc::SYS_socket], libc::EAFNOSUPPORT);
    let why = reason(Errno::EAFNOSUPPORT);
    run(&mut command).failed(&format!("tcpcli: socket error: AF_INET: {why}"));
}

#[test]
fn a_full_standard_error_that_nobody_reads_stops_no_client() {
    let (pipe_reader, pipe_writer) = pipe();
    let (socket, other_end) = UnixStream::pair().unwrap();
    let ends = [OwnedFd::from(pipe_writer), socket.into()];
    stops_no_client(ends, 3);
    drop((pipe_reader, other_end)); // open until here, so that a write waits
}

/// A terminal says that it has room also when the message does not fit: after some 350 of them.
#[test]
fn a_terminal_that_nobody_reads_stops_no_client() {
    let (user, programs) = pty();
    stops_no_client([programs.into()], 600);
    drop(user);
}

/// Serves while each of these, filled up, is the standard error, with so many messages of both parent
/// and child.
fn stops_no_client(stderrs: impl IntoIterator<Item = OwnedFd>, rounds: usize) {
    for stderr in stderrs {
        let mut command = tcpserv("127.0.0.1", 0);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(stderr.try_clone().unwrap());
        let server = Running(spawn(&mut command));
        drop(command);
        let pid = Pid::from_raw(server.0.id() as i32);
        let addr = listening_address(pid);
        if !stderr.is_terminal() {
            fill_up(&stderr, pid);
        }
        for _ in 0..rounds {
            let mut other = connect(addr);
            assert_eq!(echo(&mut other, b"hello\n"), b"hello\n");
            // The parent has a message about its end.
            let child = children(pid).pop().unwrap();
            signal(child, Signal::SIGKILL);
            assert_eq!(rest(&mut other), b"");
            wait_until("the child to be reaped", || gone(child));
            // The child has a message about its client.
            let other = connect(addr);
            let child = wait_for("the next child", || children(pid).pop());
            reset(other);
            wait_until("the child to be reaped", || gone(child));
        }
    }
}

/// Writes to a server's standard error, a pipe or a socket, until it takes no more.
fn fill_up(stderr: &OwnedFd, server: Pid) {
    let flags = MsgFlags::MSG_DONTWAIT;
    while send(stderr.as_raw_fd(), &[b'x'; 512], flags).is_ok() {}
    while send(stderr.as_raw_fd(), b"x", flags).is_ok() {}
    // The server's own end of the pipe is not to become non-blocking. A socket cannot be opened.
    let mut again = File::options();
    again.write(true).custom_flags(libc::O_NONBLOCK);
    if let Ok(mut again) = again.open(format!("/proc/{server}/fd/2")) {
        while again.write(&[b'x'; 512]).is_ok() {}
        while again.write(b"x").is_ok() {}
    }
}

#[test]
fn a_signal_loses_no_line_of_a_trace_that_waits_for_its_reader() {
    let (reader, stderr) = pipe();
    let mut command = tcpserv("127.0.0.1", 0);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let stderr = OwnedFd::from(stderr);
    command.arg("--trace").stderr(stderr.try_clone().unwrap());
    let server = Running(spawn(&mut command));
    drop(command);
    let pid = Pid::from_raw(server.0.id() as i32);
    let addr = listening_address(pid);
    wait_accepting(pid);
    fill_up(&stderr, pid);

    let _client = connect(addr);
    wait_asleep_in(libc::SYS_write, pid, "pipe:");
    signal(pid, Signal::SIGCHLD);
    let pending = || figure(pid, "status", "ShdPnd");
    wait_until("the signal to be taken", || pending() == 0);

    drop(stderr);
    let lines = BufReader::new(File::from(OwnedFd::from(reader))).lines();
    let lines = lines.map(|line| line.unwrap());
    let parent = format!("tcpserv[{pid}]");
    let of_parent = lines.filter(|line| line.contains(&parent));
    let until_fork: Vec<_> = of_parent
        .take_while(|line| !line.contains("fork() = "))
        .collect();
    let accepted = |line: &String| line.contains("accept(") && !line.contains(" = -1");
    assert!(until_fork.iter().any(accepted), "{until_fork:?}");
}

/// A process that is killed when this is dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
