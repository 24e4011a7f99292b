//! --trace: each line is true at its time, a cause stands before its effect, the last line of each
//! process says where it is, and nothing else changes.

mod common;

use common::trace::{Event, events, of};
use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;

const TRACE: &[&str] = &["--trace"];

/// Waits until the last line of a process has this state and this text. A reader may be behind the writer.
fn wait_last(said: impl Fn() -> Vec<String>, program: &str, pid: Pid, expected: (&str, &str)) {
    let last = || of(&events(said()), program, pid).pop();
    wait_while_alive(pid, format!("{expected:?}, not {:?}", last()), || {
        let (state, text) = last()?;
        ((state.as_str(), text.as_str()) == expected).then_some(())
    });
}

/// The number that a traced program's first line says socket() returned.
fn socket_number(told: &[(String, String)]) -> String {
    told[0].1.split_once(" = ").unwrap().1.to_owned()
}

#[test]
fn z1_z2_z3_the_last_line_tells_that_client_parent_and_child_sleep() {
    let server = Server::start(TRACE);
    let parent = |text: &str| {
        wait_accepting(server.pid());
        wait_last(|| server.said(), "tcpserv", server.pid(), ("LISTEN", text));
    };
    let listenfd = socket_number(&of(&events(server.said()), "tcpserv", server.pid()));
    parent(&format!("accept({listenfd}) sleeps"));

    let mut client = Program::tcpcli(server.addr, TRACE);
    let child = server.child_for(client.addr());
    parent(&format!("accept({listenfd}) sleeps")); // again, after the fork
    wait_reading_socket(child);
    let connfd = of(&events(server.said()), "tcpserv", child)[0].1.clone();
    let connfd = connfd
        .split("fd ")
        .last()
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let reads = format!("read({connfd}) sleeps");
    wait_last(|| server.said(), "tcpserv", child, ("ESTABLISHED", &reads));
    for line in [&b"hello\n"[..], b"hello again\n"] {
        wait_reading_input(client.pid());
        wait_last(
            || client.said(),
            "tcpcli",
            client.pid(),
            ("", "Fgets(stdin) sleeps"),
        );
        client.type_in(line);
        assert_eq!(client.next_output(line.len()), line);
    }
    let stopped = stop(child);
    let sockfd = socket_number(&of(&events(client.said()), "tcpcli", client.pid()));
    client.type_in(b"hello?\n");
    wait_reading_socket(client.pid());
    let readline = format!("Readline({sockfd}) sleeps");
    wait_last(
        || client.said(),
        "tcpcli",
        client.pid(),
        ("ESTABLISHED", &readline),
    );
    stopped.go_on();
    assert_eq!(client.next_output(7), b"hello?\n");
}

#[test]
fn z4_while_connect_sleeps_its_line_is_the_last() {
    let server = Server::start(&["--backlog", "0"]);
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let _first = connect(server.addr);
    let client = Program::tcpcli(server.addr, TRACE);
    wait_asleep_in(libc::SYS_connect, client.pid(), "socket:");
    let sockfd = socket_number(&of(&events(client.said()), "tcpcli", client.pid()));
    let connect = format!("connect({sockfd}, {})", server.addr);
    wait_last(
        || client.said(),
        "tcpcli",
        client.pid(),
        ("CLOSED", &connect),
    );
    assert_eq!(connection_of(client.pid()).unwrap().state, "SYN_SENT");
    stopped.go_on();
    wait_reading_input(client.pid());
    wait_last(
        || client.said(),
        "tcpcli",
        client.pid(),
        ("", "Fgets(stdin) sleeps"),
    );
}

#[test]
fn z5_while_write_sleeps_the_line_of_writen_is_the_last() {
    let server = Server::start(TRACE);
    let (mut stream, child) = server.client();
    fill(&mut stream);
    wait_writing_socket(child);
    let last = || of(&events(server.said()), "tcpserv", child).pop();
    wait_until("the line of Writen", || {
        last().is_some_and(|(state, text)| {
            state == "ESTABLISHED" && text.starts_with("Writen(") && text.ends_with(" bytes)")
        })
    });
}

#[test]
fn at_the_limit_of_clients_and_after_an_error_of_accept_the_last_line_tells_the_sleep() {
    let server = Server::start(&["--trace", "--max-clients", "1"]);
    let _first = connect(server.addr);
    let asleep = |number, text| {
        wait_while_alive(server.pid(), text, || {
            (syscall(server.pid())?.0 == number).then_some(())
        });
        wait_last(|| server.said(), "tcpserv", server.pid(), ("", text));
    };
    asleep(libc::SYS_rt_sigsuspend, "sigsuspend sleeps");

    let server = Server::start(TRACE);
    wait_accepting(server.pid()); // it has a descriptor for the next connection
    set_limit(server.pid(), libc::RLIMIT_NOFILE, Some(1));
    let _both = [connect(server.addr), connect(server.addr)];
    server.wait_said("nanosleep sleeps, for 0.1 s");
}

/// One session of one line, and the events of both programs in the order of their times.
fn traced_session() -> (Vec<Event>, Server, Pid, Pid) {
    let server = Server::start(TRACE);
    let mut client = Program::tcpcli(server.addr, TRACE);
    let pid = client.pid();
    let child = server.child_for(client.addr());
    wait_reading_socket(child);
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");
    wait_reading_input(pid);
    wait_reading_socket(child);
    let ended = client.ctrl_d_and_wait();
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), &b""[..]));
    server.wait_said("it is called again");

    let all = ended.stderr.lines().map(str::to_owned).chain(server.said());
    let all: Vec<_> = all.collect();
    let mut told = events(&all);
    assert_eq!(told.len(), all.len(), "no other line");
    told.sort_by_key(|event| event.time);
    (told, server, pid, child)
}

#[test]
fn sorted_by_time_each_cause_stands_before_its_effect() {
    for _ in 0..10 {
        let (all, server, client, child) = traced_session();
        let parent = server.pid();
        let place = |program: &str, pid: Pid, state: &str, text: &str| {
            let process = format!("{program}[{pid}]");
            let place = all.iter().position(|event| {
                let of_it = event.process == process && event.state == state;
                of_it && event.text.contains(text)
            });
            place.unwrap_or_else(|| panic!("{process} did not tell {state} {text:?}: {all:#?}"))
        };
        let tcpcli = |state, text: &str| place("tcpcli", client, state, text);
        let parent = |state, text: &str| place("tcpserv", parent, state, text);
        let child_tells = |state, text: &str| place("tcpserv", child, state, text);
        // The lowest free descriptor: the test's process may have inherited others.
        let fd: i32 = socket_number(&of(&all, "tcpcli", client)).parse().unwrap();
        let (listen, conn) = (fd, fd + 1);
        let both = format!("holds fd {listen} LISTEN, fd {conn} ESTABLISHED");
        let chain = [
            parent("LISTEN", &format!("listen({listen}, ")),
            tcpcli("CLOSED", &format!("connect({fd}, {})", server.addr)),
            parent(
                "LISTEN",
                &format!("accept({listen}) = {conn}, 0 in its queue"),
            ),
            parent("", &format!("fork() = {child}, {both}")),
            child_tells("", &format!("fork() = 0, {both}")),
            child_tells(
                "LISTEN",
                &format!("close({listen}), then holds fd {conn} ESTABLISHED"),
            ),
            tcpcli("", "Fgets(stdin) = 6"),
            tcpcli("ESTABLISHED", &format!("Writen({fd}, 6 bytes)")),
            child_tells("ESTABLISHED", &format!("read({conn}) = 6")),
            child_tells("ESTABLISHED", &format!("Writen({conn}, 6 bytes)")),
            tcpcli("ESTABLISHED", &format!("Readline({fd}) = 6")),
            tcpcli("", "Fputs(stdout) = 0"),
            tcpcli("", "Fflush(stdout) = 0"),
            tcpcli("", "Fgets(stdin) = NULL"),
            tcpcli("", &format!("exit(0), holds fd {fd} ESTABLISHED")),
            tcpcli("ESTABLISHED", &format!("close({fd})")),
            child_tells("CLOSE_WAIT", &format!("read({conn}) = 0")),
            child_tells("", &format!("_exit(0), holds fd {conn} CLOSE_WAIT")),
            child_tells("CLOSE_WAIT", &format!("close({conn})")),
            tcpcli("TIME_WAIT", ""),
        ];
        assert!(chain.is_sorted(), "{chain:?} {all:#?}");
        parent(
            "ESTABLISHED",
            &format!("close({conn}), then holds fd {listen} LISTEN"),
        );
        child_tells("CLOSED", &format!("{conn}: {} to ", server.addr));
        parent("", &format!("waitpid(-1) = {child}, exit status: 0"));
        parent(
            "LISTEN",
            &format!("accept({listen}) = -1, EINTR: a signal has interrupted it"),
        );
    }
}

#[test]
fn while_the_child_is_stopped_the_trace_looks_for_a_second() {
    let server = Server::start(TRACE);
    let mut client = Program::tcpcli(server.addr, TRACE);
    let child = server.child_for(client.addr());
    wait_reading_socket(child);
    let stopped = stop(child);

    let ended = client.ctrl_d_and_wait();

    assert_eq!(ended.code, Some(0));
    let told = of(&events(ended.stderr.lines()), "tcpcli", client.pid());
    let (state, text) = told.last().unwrap();
    assert_eq!(state, "FIN_WAIT_2");
    assert!(
        text.ends_with(": after 1 s still so; the trace looks no longer"),
        "{text}"
    );
    stopped.go_on();
    let read = server.wait_said(" = 0, holds"); // the child's fork
    assert!(read.contains("fork() = 0"), "{read}");
    let read = |line: &String| line.contains("\tCLOSE_WAIT  read(") && line.ends_with(" = 0");
    wait_until("the child to read the FIN", || {
        server.said().iter().any(read)
    });
}

#[test]
fn accept_tells_how_many_connections_wait_in_the_queue() {
    let server = Server::start(TRACE);
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let _clients = [(); 3].map(|()| connect(server.addr));
    stopped.go_on();
    for queue in [2, 1, 0] {
        let accepted = |line: &String| {
            line.contains("accept(") && line.ends_with(&format!(", {queue} in its queue"))
        };
        wait_until("accept", || server.said().iter().any(accepted));
    }
}

#[test]
fn a_server_that_ends_early_is_seen_in_the_state_before_the_next_call() {
    let server = Server::start(TRACE);
    let mut client = Program::tcpcli(server.addr, TRACE);
    let (pid, cliaddr) = (client.pid(), client.addr());
    let child = server.child_for(cliaddr);
    signal(child, Signal::SIGKILL);
    server.wait_said(&format!("waitpid(-1) = {child}, signal: 9 (SIGKILL)"));
    wait_state(cliaddr, server.addr, "CLOSE_WAIT");

    client.type_in(b"hello?\n");
    let ended = client.wait();

    assert_eq!(ended.code, Some(1), "as without --trace");
    let message = "\ntcpcli: str_cli: server terminated prematurely\n";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    let told = of(&events(ended.stderr.lines()), "tcpcli", pid);
    let fd = socket_number(&told);
    let is_told = |state: &str, text: &str| told.contains(&(state.to_owned(), text.to_owned()));
    assert!(
        is_told("CLOSE_WAIT", &format!("Writen({fd}, 7 bytes)")),
        "{told:?}"
    );
    assert!(
        !told.iter().any(|(_, text)| text.starts_with("Fputs")),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap().1, "exit(1), holds no socket"); // after the close at its scope's end
}

#[test]
fn a_half_close_is_told_and_then_its_state() {
    let server = Server::start(TRACE);
    let mut client = Program::tcpcli(server.addr, TRACE);
    let (pid, cliaddr) = (client.pid(), client.addr());
    let child = server.child_for(cliaddr);
    wait_reading_socket(child);
    let stopped = stop(child);
    client.type_in(b"last");
    client.ctrl_d();
    wait_state(cliaddr, server.addr, "FIN_WAIT_2");
    wait_asleep(pid); // for the echo
    let stopped_client = stop(pid);
    stopped.go_on();
    wait_state(cliaddr, server.addr, "TIME_WAIT");
    stopped_client.go_on();

    let ended = client.wait();
    assert_eq!(
        (ended.code, ended.stdout.as_slice()),
        (Some(0), &b"last"[..])
    );
    let told = of(&events(ended.stderr.lines()), "tcpcli", pid);
    let fd = socket_number(&told);
    let place = |call: &str| {
        told.iter()
            .position(|(_, text)| text.starts_with(call))
            .unwrap()
    };
    let shutdown = place("shutdown(");
    assert_eq!(
        told[shutdown],
        ("ESTABLISHED".into(), format!("shutdown({fd}, SHUT_WR)"))
    );
    let after = told[shutdown + 1].0.as_str();
    assert!(["FIN_WAIT_1", "FIN_WAIT_2"].contains(&after), "{told:?}");
    // In TIME_WAIT the kernel has detached the connection from its open socket.
    let readline = place(&format!("Readline({fd}) = "));
    assert_eq!(told[readline].0, "TIME_WAIT");
    let close = place("close(");
    assert_eq!(told[close].0, "TIME_WAIT");
    assert_eq!(told.len(), close + 1, "no state follows: {told:?}");
}

#[test]
fn batch_tells_its_calls_and_each_close_once() {
    let server = Server::start(&[]);
    let mut client = Program::tcpcli(server.addr, &["--batch", "--trace"]);
    client.type_in(b"hello\n");
    assert_eq!(client.next_output(6), b"hello\n");
    let ended = client.ctrl_d_and_wait();
    let told = of(&events(ended.stderr.lines()), "tcpcli", client.pid());
    let texts: Vec<_> = told.iter().map(|(_, text)| text.as_str()).collect();
    let sockfd = socket_number(&told);
    // The thread that sends has a descriptor of its own.
    let writen = texts.iter().find_map(|text| text.strip_prefix("Writen("));
    let to = writen.unwrap().split(',').next().unwrap();
    assert_ne!(sockfd, to);
    for expected in [
        "read(stdin) = 6",
        &format!("Writen({to}, 6 bytes)"),
        &format!("read({sockfd}) = 6"),
        "Fputs(stdout) = 0",
        "read(stdin) = 0",
        &format!("shutdown({to}, SHUT_WR)"),
        &format!("read({sockfd}) = 0"),
    ] {
        assert!(texts.contains(&expected), "no {expected:?} in {texts:?}");
    }
    for fd in [&sockfd, to] {
        let close = format!("close({fd})");
        let closes = texts.iter().filter(|text| text.starts_with(&close));
        assert_eq!(closes.count(), 1, "{texts:?}");
    }
}

#[test]
fn a_child_that_only_stops_does_not_interrupt_accept() {
    let server = Server::start(TRACE);
    wait_accepting(server.pid());
    let (stream, child) = server.client();
    wait_accepting(server.pid());
    stop(child).go_on();
    drop(stream);
    let calls = |text| {
        let said = server.said();
        let lines = said
            .iter()
            .filter(|line| line.contains("accept(") && line.contains(text));
        lines.count()
    };
    // It sleeps at first, after the fork, and after each interruption.
    wait_until("the last sleep", || calls("sleeps") >= 3);
    assert_eq!((calls(" = -1, "), calls("sleeps")), (1, 3));
}

#[test]
fn lines_of_parent_and_children_never_mix() {
    let server = Server::start(TRACE);
    let visits = (0..4).map(|_| {
        let addr = server.addr;
        thread::spawn(move || {
            for _ in 0..25 {
                let lines = b"one\ntwo\nthree\n";
                Program::tcpcli(addr, &[]).feed(lines).succeeded(lines);
            }
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        join("25 clients", visit);
    }
    wait_until("a hundred children to be reaped", || {
        let said = server.said();
        said.iter().filter(|line| line.contains("waitpid")).count() == 100
    });
    let said = server.said();
    assert_eq!(events(&said).len(), said.len(), "each line is an event");
}

#[test]
fn a_call_that_fails_is_told_with_its_reason() {
    let server = Server::start(&[]);
    let ended = run(tcpserv("127.0.0.1", server.addr.port()).args(TRACE));
    let why = reason(Errno::EADDRINUSE);
    let lines: Vec<_> = ended.stderr.lines().collect();
    let told = events(&lines);
    let [.., bind, close, exit] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(bind.state, "CLOSED");
    assert!(bind.text.starts_with("bind("), "{bind:?}");
    assert!(bind.text.ends_with(&format!(" = -1, {why}")), "{bind:?}");
    assert!(close.text.ends_with(", then holds no socket"), "{close:?}"); // at its scope's end
    assert_eq!(exit.text, "exit(1), holds no socket");
    let message = format!("tcpserv: bind error: {}: {why}", server.addr);
    assert_eq!(lines[lines.len() - 2], message);

    let bound = unp::Socket(unp::AF_INET, unp::SOCK_STREAM, 0).unwrap();
    unp::Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody: SocketAddr = unp::Getsockname(&bound).unwrap();
    let ended = run(tcpcli(nobody).args(TRACE));
    let told = events(ended.stderr.lines());
    let first = told
        .iter()
        .position(|event| event.text.starts_with("connect("));
    let [begins, fails, ..] = &told[first.unwrap()..] else {
        panic!("{told:?}");
    };
    let why = reason(Errno::ECONNREFUSED);
    assert_eq!(
        (begins.state.as_str(), fails.state.as_str()),
        ("CLOSED", "CLOSED")
    );
    assert_eq!(fails.text, format!("{} = -1, {why}", begins.text));

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

/// Linux connects such a client to the server on its own host.
#[test]
fn a_client_of_0_0_0_0_is_told_with_its_real_peer() {
    let server = Server::start(&[]);
    let anywhere = ([0, 0, 0, 0], server.addr.port()).into();
    let ended = Program::tcpcli(anywhere, TRACE).feed(b"");
    assert_eq!(ended.code, Some(0));
    let told = events(ended.stderr.lines());
    let last = told.last().unwrap();
    assert_eq!(last.state, "TIME_WAIT");
    let peer = format!(" to {}", server.addr);
    assert!(last.text.ends_with(&peer), "{told:?}");
}

#[test]
fn where_a_sandbox_hides_the_kernels_table_no_state_follows_the_close() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(command.args(TRACE), &[libc::SYS_sendto], libc::EPERM);
    let ended = Program::spawn(&mut command, Stdio::piped(), Stdio::piped()).feed(b"hello\n");
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"hello\n"[..]));
    let told = events(ended.stderr.lines());
    let last = told.last().unwrap();
    assert_eq!(last.state, "ESTABLISHED");
    assert!(last.text.starts_with("close("), "{told:?}");
}
