//! --trace: each line is true at its time, a cause stands before its effect, the last line of each
//! process says where it is, and nothing else changes.

mod common;

use common::trace::{events, of};
use common::*;

const TRACE: &[&str] = &["--trace"];

/// What a process tells in these lines: state and text of each event.
type Told = Vec<(String, String)>;

fn tcpcli_told(client: &Program, stderr: &str) -> Told {
    of(&events(stderr.lines()), "tcpcli", client.pid())
}

/// Where the first line is that begins with this text.
fn place(told: &Told, text: &str) -> usize {
    let place = told.iter().position(|(_, its)| its.starts_with(text));
    place.unwrap_or_else(|| panic!("no {text:?} in {told:?}"))
}

/// Waits until the last line of a process is this. A reader may be behind the writer.
fn wait_last(said: impl Fn() -> Vec<String>, program: &str, pid: Pid, state: &str, text: &str) {
    wait_while_alive(pid, format_args!("{state} {text}"), || {
        let last = of(&events(said()), program, pid).pop()?;
        (last == (state.to_owned(), text.to_owned())).then_some(())
    });
}

fn server_waits(server: &Server, pid: Pid, state: &str, text: &str) {
    wait_last(|| server.said(), "tcpserv", pid, state, text);
}

fn client_waits(client: &Program, state: &str, text: &str) {
    wait_last(|| client.said(), "tcpcli", client.pid(), state, text);
}

/// The descriptor of the one socket of a process.
fn socket_of(pid: Pid) -> i32 {
    socket_descriptors(pid)[0].0
}

#[test]
fn z1_z2_z3_the_last_line_tells_that_client_parent_and_child_sleep() {
    let server = Server::start(TRACE);
    let accept = format!("accept({}) sleeps", socket_of(server.pid()));
    wait_accepting(server.pid());
    server_waits(&server, server.pid(), "LISTEN", &accept);

    let (mut client, child) = server.tcpcli_with(TRACE);
    wait_accepting(server.pid());
    server_waits(&server, server.pid(), "LISTEN", &accept); // again, after the fork
    wait_reading_socket(child);
    let read = format!("read({}) sleeps", socket_of(child));
    for line in [&b"hello\n"[..], b"hello again\n"] {
        wait_reading_socket(child);
        server_waits(&server, child, "ESTABLISHED", &read);
        wait_reading_input(client.pid());
        client_waits(&client, "", "Fgets(stdin) sleeps");
        client.echoes(line);
    }
    let stopped = stop(child);
    client.type_in(b"hello?\n");
    wait_reading_socket(client.pid());
    let readline = format!("Readline({}) sleeps", socket_of(client.pid()));
    client_waits(&client, "ESTABLISHED", &readline);
    stopped.go_on();
    assert_eq!(client.next_output(7), b"hello?\n");
}

#[test]
fn z4_while_connect_sleeps_its_line_is_the_last() {
    let server = Server::start(&["--backlog", "0"]);
    let stopped = server.stop_accepting();
    let _first = connect(server.addr);
    let client = Program::tcpcli(server.addr, TRACE);
    wait_asleep_in(libc::SYS_connect, client.pid(), "socket:");
    let connect = format!("connect({}, {})", socket_of(client.pid()), server.addr);
    client_waits(&client, "CLOSED", &connect); // when it began
    assert_eq!(connection_of(client.pid()).unwrap().state, "SYN_SENT");
    stopped.go_on();
    wait_reading_input(client.pid());
    client_waits(&client, "", "Fgets(stdin) sleeps");
}

#[test]
fn z5_while_write_sleeps_the_line_of_writen_is_the_last() {
    let server = Server::start(TRACE);
    let (mut stream, child) = server.client();
    fill(&mut stream);
    wait_writing_socket(child);
    let writen = format!("Writen({}, ", socket_of(child));
    wait_while_alive(child, "the line of Writen", || {
        let (state, text) = of(&events(server.said()), "tcpserv", child).pop()?;
        let is_it = text.starts_with(&writen) && text.ends_with(" bytes)");
        (state == "ESTABLISHED" && is_it).then_some(())
    });
}

#[test]
fn at_the_limit_of_clients_and_after_an_error_of_accept_the_last_line_tells_the_sleep() {
    let server = Server::start(&["--trace", "--max-clients", "1"]);
    let _first = connect(server.addr);
    wait_asleep_in(libc::SYS_rt_sigsuspend, server.pid(), "");
    server_waits(&server, server.pid(), "", "sigsuspend sleeps");

    let server = Server::start(TRACE);
    wait_accepting(server.pid()); // it has a descriptor for the next connection
    set_limit(server.pid(), Resource::NOFILE, 1);
    let _both = [connect(server.addr), connect(server.addr)];
    server_waits(&server, server.pid(), "", "nanosleep sleeps, for 0.1 s");
}

#[test]
fn sorted_by_time_each_cause_stands_before_its_effect() {
    for _ in 0..10 {
        let server = Server::start(TRACE);
        let (mut client, child) = server.tcpcli_with(TRACE);
        let (tcpcli, parent) = (client.pid(), server.pid());
        wait_reading_socket(child);
        wait_accepting(parent);
        let [sockfd, listenfd, connfd] = [tcpcli, parent, child].map(socket_of);
        client.echoes(b"hello\n");
        wait_reading_input(tcpcli);
        wait_reading_socket(child);
        let ended = client.ctrl_d_and_wait();
        assert_eq!(ended.code, Some(0));
        server.wait_said("it is called again");

        let lines = ended.stderr.lines().map(str::to_owned);
        let lines: Vec<_> = lines.chain(server.said()).collect();
        let mut told = events(&lines);
        assert_eq!(told.len(), lines.len(), "no other line");
        told.sort_by_key(|event| event.time);
        let place = |(pid, line): &(Pid, String)| {
            let pid = format!("[{pid}]");
            let place = told.iter().position(|event| {
                let its = format!("{}: {}", event.state, event.text);
                event.process.ends_with(&pid) && its.starts_with(line)
            });
            place.unwrap_or_else(|| panic!("{pid} did not tell {line:?}: {told:#?}"))
        };
        let addr = server.addr;
        let both = format!("holds fd {listenfd} LISTEN, fd {connfd} ESTABLISHED");
        let session = [
            (parent, format!("LISTEN: listen({listenfd}, ")),
            (tcpcli, format!("CLOSED: connect({sockfd}, {addr})")),
            (
                parent,
                format!("LISTEN: accept({listenfd}) = {connfd}, 0 in its queue"),
            ),
            (parent, format!(": fork() = {child}, {both}")),
            (child, format!(": fork() = 0, {both}")),
            (
                child,
                format!("LISTEN: close({listenfd}), then holds fd {connfd} ESTABLISHED"),
            ),
            (tcpcli, ": Fgets(stdin) = 6".to_owned()),
            (tcpcli, format!("ESTABLISHED: Writen({sockfd}, 6 bytes)")),
            (child, format!("ESTABLISHED: read({connfd}) = 6")),
            (child, format!("ESTABLISHED: Writen({connfd}, 6 bytes)")),
            (tcpcli, format!("ESTABLISHED: Readline({sockfd}) = 6")),
            (tcpcli, ": Fputs(stdout) = 0".to_owned()),
            (tcpcli, ": Fflush(stdout) = 0".to_owned()),
            (tcpcli, ": Fgets(stdin) = NULL".to_owned()),
            (tcpcli, format!(": exit(0), holds fd {sockfd} ESTABLISHED")),
            (tcpcli, format!("ESTABLISHED: close({sockfd})")),
            (child, format!("CLOSE_WAIT: read({connfd}) = 0")),
            (child, format!(": _exit(0), holds fd {connfd} CLOSE_WAIT")),
            (child, format!("CLOSE_WAIT: close({connfd})")),
            (tcpcli, "TIME_WAIT: ".to_owned()),
        ];
        let interrupted = "= -1, EINTR: a signal has interrupted it";
        let reaped = [
            (
                parent,
                format!("ESTABLISHED: close({connfd}), then holds fd {listenfd} LISTEN"),
            ),
            (child, format!("CLOSED: {connfd}: {addr} to ")),
            (parent, format!(": waitpid(-1) = {child}, exit status: 0")),
            (parent, format!("LISTEN: accept({listenfd}) {interrupted}")),
        ];
        for chain in [&session[..], &reaped] {
            let places: Vec<_> = chain.iter().map(place).collect();
            assert!(places.is_sorted(), "{places:?} {told:#?}");
        }
    }
}

#[test]
fn accept_tells_how_many_connections_wait_in_the_queue() {
    let server = Server::start(TRACE);
    let stopped = server.stop_accepting();
    let _clients = [(); 3].map(|()| connect(server.addr));
    stopped.go_on();
    server.wait_children(3);
    server.wait_said(", 2 in its queue");
    server.wait_said(", 1 in its queue");
}

#[test]
fn a_server_that_ends_early_is_seen_in_the_state_before_the_next_call() {
    let server = Server::start(TRACE);
    let (mut client, child) = server.tcpcli_with(TRACE);
    let sockfd = socket_of(client.pid());
    signal(child, Signal::SIGKILL);
    server.wait_said(&format!("waitpid(-1) = {child}, signal: 9 (SIGKILL)"));
    wait_state(client.addr(), server.addr, "CLOSE_WAIT");

    client.type_in(b"hello?\n");
    let ended = client.wait();

    assert_eq!(ended.code, Some(1), "as without --trace");
    let message = "\ntcpcli: str_cli: server terminated prematurely\n";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    let told = tcpcli_told(&client, &ended.stderr);
    let writen = place(&told, &format!("Writen({sockfd}, 7 bytes)"));
    assert_eq!(told[writen].0, "CLOSE_WAIT");
    assert!(
        !told.iter().any(|(_, text)| text.starts_with("Fputs")),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap().1, "exit(1), holds no socket"); // after the close at its scope's end
}

#[test]
fn a_half_close_is_told_and_then_its_state() {
    let server = Server::start(TRACE);
    let (mut client, child) = server.tcpcli_with(TRACE);
    let (sockfd, addr) = (socket_of(client.pid()), client.addr());
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
    let told = tcpcli_told(&client, &ended.stderr);
    let shutdown = place(&told, &format!("shutdown({sockfd}, SHUT_WR)"));
    assert_eq!(told[shutdown].0, "ESTABLISHED");
    let after = told[shutdown + 1].0.as_str();
    assert!(["FIN_WAIT_1", "FIN_WAIT_2"].contains(&after), "{told:?}");
    // In TIME_WAIT the kernel has detached the connection from its open socket.
    assert_eq!(
        told[place(&told, &format!("Readline({sockfd}) = "))].0,
        "TIME_WAIT"
    );
    let close = place(&told, &format!("close({sockfd})"));
    assert_eq!(told[close].0, "TIME_WAIT");
    assert_eq!(told.len(), close + 1, "no state follows: {told:?}");
}

#[test]
fn batch_tells_its_calls_and_each_close_once() {
    let server = Server::start(&[]);
    let (mut client, _) = server.tcpcli_with(&["--batch", "--trace"]);
    client.echoes(b"hello\n");
    let ended = client.ctrl_d_and_wait();
    let told = tcpcli_told(&client, &ended.stderr);
    let descriptor = |call: &str| {
        let (_, text) = &told[place(&told, call)];
        text.split(['(', ',']).nth(1).unwrap()
    };
    // The thread that sends has a descriptor of its own.
    let (from, to) = (descriptor("setsockopt("), descriptor("shutdown("));
    assert_ne!(from, to);
    for expected in [
        "read(stdin) = 6",
        &format!("Writen({to}, 6 bytes)"),
        &format!("read({from}) = 6"),
        "Fputs(stdout) = 0",
        "read(stdin) = 0",
        &format!("read({from}) = 0"),
    ] {
        place(&told, expected);
    }
    let closes = |fd| {
        let close = format!("close({fd})");
        told.iter()
            .filter(|(_, text)| text.starts_with(&close))
            .count()
    };
    // The exit leaves the first alone where the kernel still counts the thread that has just ended.
    assert!(closes(to) == 1 && closes(from) <= 1, "{told:?}");
}

#[test]
fn where_a_sandbox_hides_the_kernels_table_no_state_follows_the_close() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(command.args(TRACE), &[libc::SYS_sendto], libc::EPERM);
    let mut client = Program::spawn(&mut command, Stdio::null(), Stdio::piped());
    let ended = client.wait();
    assert_eq!(ended.code, Some(0));
    let (state, text) = tcpcli_told(&client, &ended.stderr).pop().unwrap();
    assert!(
        state == "ESTABLISHED" && text.starts_with("close("),
        "{state} {text}"
    );
}

#[test]
fn a_call_that_fails_is_told_with_its_reason() {
    let server = Server::start(&[]);
    let bound = unp::Socket(unp::AF_INET, unp::SOCK_STREAM, 0).unwrap();
    unp::Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = unp::Getsockname(&bound).unwrap();
    let mut second = tcpserv("127.0.0.1", server.addr.port());
    for (command, call, message, errno) in [
        (
            &mut second,
            "bind",
            format!("tcpserv: bind error: {}", server.addr),
            Errno::EADDRINUSE,
        ),
        (
            &mut tcpcli(nobody),
            "connect",
            format!("tcpcli: connect error: {nobody}"),
            Errno::ECONNREFUSED,
        ),
    ] {
        let ended = run(command.args(TRACE));
        let why = reason(errno);
        let lines: Vec<_> = ended.stderr.lines().collect();
        let [.., fails, close, said, exit] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(fails.contains(&format!("\tCLOSED      {call}(")), "{fails}");
        assert!(fails.ends_with(&format!(" = -1, {why}")), "{fails}");
        assert!(close.ends_with(", then holds no socket"), "{close}"); // at its scope's end
        assert_eq!(*said, format!("{message}: {why}"));
        assert!(exit.ends_with(" exit(1), holds no socket"), "{exit}");
    }

    let mut command = tcpserv("127.0.0.1", 0);
    refuse(command.args(TRACE), FORKS, libc::EAGAIN);
    let server = Server::spawn(&mut command);
    let _client = connect(server.addr);
    let why = reason(Errno::EAGAIN);
    server.wait_said(&format!("fork() = -1, {why}, holds "));
}

#[test]
fn the_end_of_the_idle_timeout_is_told() {
    let server = Server::start(&["--trace", "--idle-timeout", "1"]);
    let _stream = connect(server.addr);
    server.wait_said("SO_RCVTIMEO and TCP_USER_TIMEOUT, 1 s) = 0");
    let read = server.wait_said(" = -1, idle for 1 s");
    assert!(read.contains("\tESTABLISHED read("), "{read}");
}
