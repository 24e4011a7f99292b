//! --trace: each line is true at its time, a cause stands before its effect, and nothing else
//! changes.

mod common;

use common::trace::{Event, events, of};
use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn assert_told(told: &[(String, String)], expected: &[(&str, String)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(state, text)| (state.to_string(), text.clone()))
        .collect();
    assert_eq!(told, expected);
}

/// The descriptor that the narration's first line says socket() returned.
fn socket_number(told: &[(String, String)]) -> i32 {
    let (_, number) = told[0].1.split_once(" = ").unwrap();
    number.parse().unwrap()
}

fn server_events(server: &Server) -> Vec<Event> {
    events(server.said())
}

fn traced_server() -> Server {
    Server::start(&["--trace"])
}

/// One session of one line, and the events of both programs in the order of their times.
fn session() -> (Vec<Event>, Server, Pid, Pid) {
    let server = traced_server();
    let mut client = Client::start(server.addr, &["--trace"]);
    let pid = client.pid();
    let child = server.child_for(client.addr());
    wait_reading_socket(child);
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");
    wait_reading_input(pid);
    wait_reading_socket(child);
    let ended = client.finish();
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), &b""[..]));
    server.wait_said("waitpid");

    let mut all = server_events(&server);
    let its = events(ended.stderr.lines());
    assert_eq!(its.len(), ended.stderr.lines().count(), "no other line");
    all.extend(its);
    all.sort_by_key(|event| event.time);
    (all, server, pid, child)
}

#[test]
fn both_programs_tell_each_call_with_its_state() {
    let (all, server, client, child) = session();
    let servaddr = server.addr;

    let told = of(&all, "tcpcli", client);
    let n = socket_number(&told);
    let cliaddr = told[3].1.split(' ').nth(1).unwrap();
    let connection = format!("{n}: {cliaddr} to {servaddr}");
    assert_told(
        &told[..12],
        &[
            ("CLOSED", format!("socket(AF_INET, SOCK_STREAM, 0) = {n}")),
            ("CLOSED", format!("setsockopt({n}, SO_KEEPALIVE, true) = 0")),
            ("CLOSED", format!("connect({n}, {servaddr}) = 0")),
            ("ESTABLISHED", connection.clone()),
            ("", "Fgets(stdin) = 6".into()),
            ("ESTABLISHED", format!("Writen({n}) = 6")),
            ("ESTABLISHED", format!("Readline({n}) = 6")),
            ("", "Fputs(stdout) = 0".into()),
            ("", "Fflush(stdout) = 0".into()),
            ("", "Fgets(stdin) = NULL".into()),
            ("", format!("exit(0), holds {n} ESTABLISHED")),
            ("ESTABLISHED", format!("close({n}) = 0")),
        ],
    );
    // It takes microseconds from the close to TIME_WAIT, and each of these states may be missed.
    let after: Vec<_> = told[12..].iter().map(|(state, _)| state.as_str()).collect();
    let possible = ["FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT"];
    let place = |state: &&str| possible.iter().position(|other| other == state);
    assert!(
        after.iter().all(|state| place(state).is_some()),
        "{after:?}"
    );
    assert!(after.is_sorted_by_key(place), "{after:?}");
    assert_eq!(after.last(), Some(&"TIME_WAIT"));
    assert!(told[12..].iter().all(|(_, text)| *text == connection));

    let parent = of(&all, "tcpserv", server.pid());
    let listenfd = socket_number(&parent);
    let accepted = format!("accept({listenfd}) = ");
    let accept = parent.iter().find(|(_, text)| text.starts_with(&accepted));
    let connfd = accept.unwrap().1[accepted.len()..]
        .split(',')
        .next()
        .unwrap();
    let both = format!("holds {listenfd} LISTEN, {connfd} ESTABLISHED");
    let place = parent.iter().position(|told| Some(told) == accept).unwrap();
    assert_told(
        &parent[place..place + 5],
        &[
            ("LISTEN", format!("{accepted}{connfd}, 0 in its queue")),
            ("ESTABLISHED", format!("{connfd}: {servaddr} to {cliaddr}")),
            ("", format!("fork() = {child}, {both}")),
            ("ESTABLISHED", format!("close({connfd}) = 0")),
            ("", format!("holds {listenfd} LISTEN")),
        ],
    );
    let reaped = ("".into(), format!("waitpid(-1) = {child}, exit status: 0"));
    assert!(parent.contains(&reaped), "{parent:?}");

    let told = of(&all, "tcpserv", child);
    let connection = format!("{connfd}: {servaddr} to {cliaddr}");
    assert_told(
        &told,
        &[
            ("", format!("fork() = 0, {both}")),
            ("LISTEN", format!("close({listenfd}) = 0")),
            ("", format!("holds {connfd} ESTABLISHED")),
            ("ESTABLISHED", format!("read({connfd}) = 6")),
            ("ESTABLISHED", format!("Writen({connfd}) = 6")),
            ("CLOSE_WAIT", format!("read({connfd}) = 0")),
            ("", format!("_exit(0), holds {connfd} CLOSE_WAIT")),
            ("CLOSE_WAIT", format!("close({connfd}) = 0")),
            ("CLOSED", connection),
        ],
    );
}

#[test]
fn sorted_by_time_each_cause_stands_before_its_effect() {
    for _ in 0..10 {
        let (all, server, client, child) = session();
        let place = |program: &str, pid: Pid, state: &str, text: &str| {
            let process = format!("{program}[{pid}]");
            let place = all.iter().position(|event| {
                let of_it = event.process == process && event.state == state;
                of_it && event.text.contains(text)
            });
            place.unwrap_or_else(|| panic!("{process} did not tell {state} {text:?}: {all:#?}"))
        };
        let parent = server.pid();
        let chain = [
            place("tcpserv", parent, "LISTEN", "listen("),
            place("tcpcli", client, "CLOSED", "connect("),
            place("tcpserv", parent, "LISTEN", "accept("),
            place("tcpserv", parent, "", "fork() = "),
            place("tcpserv", child, "", "fork() = 0"),
            place("tcpserv", child, "LISTEN", "close("),
            place("tcpcli", client, "ESTABLISHED", "Writen("),
            place("tcpserv", child, "ESTABLISHED", "read("),
            place("tcpserv", child, "ESTABLISHED", "Writen("),
            place("tcpcli", client, "ESTABLISHED", "Readline("),
            place("tcpcli", client, "", "Fgets(stdin) = NULL"),
            place("tcpcli", client, "ESTABLISHED", "close("),
            place("tcpserv", child, "CLOSE_WAIT", "read("),
            place("tcpserv", child, "CLOSE_WAIT", "close("),
            place("tcpcli", client, "TIME_WAIT", ""),
        ];
        assert!(chain.is_sorted(), "{chain:?} {all:#?}");
    }
}

#[test]
fn the_states_are_those_of_the_kernel_while_the_child_is_stopped() {
    let server = traced_server();
    let mut client = Client::start(server.addr, &["--trace"]);
    let (pid, child) = (client.pid(), server.child_for(client.addr()));
    wait_reading_socket(child);
    let stopped = stop(child);

    let start = Instant::now();
    let ended = client.finish();

    assert_eq!(ended.code, Some(0));
    let watched = start.elapsed();
    assert!(watched > Duration::from_millis(900), "{watched:?}");
    assert!(watched < Duration::from_millis(3900), "{watched:?}");
    let told = of(&events(ended.stderr.lines()), "tcpcli", pid);
    let states: Vec<_> = told.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(
        states.last(),
        Some(&"FIN_WAIT_2"),
        "no TIME_WAIT: {states:?}"
    );

    drop(stopped);
    server.wait_said("waitpid");
    let told = of(&server_events(&server), "tcpserv", child);
    let read = told.iter().find(|(_, text)| text.starts_with("read("));
    assert_eq!(read.unwrap().0, "CLOSE_WAIT");
}

#[test]
fn accept_tells_how_many_connections_wait_in_the_queue() {
    let server = traced_server();
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let _clients = [
        connect(server.addr),
        connect(server.addr),
        connect(server.addr),
    ];
    drop(stopped);
    for queue in [2, 1, 0] {
        server.wait_said(&format!(", {queue} in its queue"));
    }
}

#[test]
fn a_server_that_ends_early_is_seen_in_the_state_before_the_next_call() {
    let server = traced_server();
    let mut client = Client::start(server.addr, &["--trace"]);
    let (pid, cliaddr) = (client.pid(), client.addr());
    let child = server.child_for(cliaddr);
    signal(child, Signal::SIGKILL);
    let told = server.wait_said("waitpid");
    assert!(
        told.ends_with(&format!("waitpid(-1) = {child}, signal: 9 (SIGKILL)")),
        "{told}"
    );
    wait_state(cliaddr, server.addr, "CLOSE_WAIT");

    client.type_in(b"hello?\n");
    let ended = client.wait();

    assert_eq!(ended.code, Some(1), "as without --trace");
    let message = "tcpcli: str_cli: server terminated prematurely";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    let told = of(&events(ended.stderr.lines()), "tcpcli", pid);
    let writen = told.iter().find(|(_, text)| text.starts_with("Writen("));
    assert_eq!(writen.unwrap().0, "CLOSE_WAIT");
}

#[test]
fn a_half_close_is_told_and_then_its_state() {
    let server = traced_server();
    let mut client = Client::start(server.addr, &["--trace"]);
    let (pid, cliaddr) = (client.pid(), client.addr());
    let child = server.child_for(cliaddr);
    wait_reading_socket(child);
    let stopped = stop(child);
    client.type_in(b"last");
    client.end_input();
    wait_state(cliaddr, server.addr, "FIN_WAIT_2");
    wait_asleep(pid); // for the echo
    let stopped_client = stop(pid);
    drop(stopped);
    wait_state(cliaddr, server.addr, "TIME_WAIT");
    drop(stopped_client);

    let ended = client.wait();
    assert_eq!(
        (ended.code, ended.stdout.as_slice()),
        (Some(0), &b"last"[..])
    );
    let told = of(&events(ended.stderr.lines()), "tcpcli", pid);
    let place = told
        .iter()
        .position(|(_, text)| text.starts_with("shutdown("));
    let [shutdown, after] = &told[place.unwrap()..][..2] else {
        panic!("{told:?}");
    };
    assert_eq!(shutdown.0, "ESTABLISHED");
    assert!(shutdown.1.ends_with(", SHUT_WR) = 0"), "{shutdown:?}");
    assert!(
        ["FIN_WAIT_1", "FIN_WAIT_2"].contains(&after.0.as_str()),
        "{after:?}"
    );
    // In TIME_WAIT the kernel has detached the connection from its open socket.
    let readline = told.iter().find(|(_, text)| text.starts_with("Readline("));
    assert_eq!(readline.unwrap().0, "TIME_WAIT");
    let close = told.iter().position(|(_, text)| text.starts_with("close("));
    assert_eq!(told[close.unwrap()].0, "TIME_WAIT");
    assert_eq!(told.len(), close.unwrap() + 1, "no state follows: {told:?}");
}

#[test]
fn batch_tells_its_calls() {
    let server = Server::start(&[]);
    let ended = Client::start(server.addr, &["--batch", "--trace"]).feed(b"hello\n");
    let told = events(ended.stderr.lines());
    let texts: Vec<_> = told.iter().map(|event| event.text.as_str()).collect();
    // The thread that sends has a descriptor of its own.
    let number = |before: &str| {
        let text = texts.iter().find_map(|text| text.strip_prefix(before));
        text.unwrap().split(')').next().unwrap()
    };
    let sockfd = number("socket(AF_INET, SOCK_STREAM, 0) = ");
    let to = number("Writen(");
    assert_ne!(sockfd, to);
    for expected in [
        "read(stdin) = 6".to_owned(),
        format!("Writen({to}) = 6"),
        format!("read({sockfd}) = 6"),
        "Fputs(stdout) = 0".to_owned(),
        "read(stdin) = 0".to_owned(),
        format!("shutdown({to}, SHUT_WR) = 0"),
        format!("read({sockfd}) = 0"),
    ] {
        assert!(
            texts.contains(&expected.as_str()),
            "no {expected:?} in {texts:?}"
        );
    }
}

#[test]
fn a_child_that_only_stops_does_not_interrupt_accept() {
    let server = traced_server();
    let (stream, child) = server.client();
    wait_accepting(server.pid());
    drop(stop(child));
    drop(stream);
    server.wait_said("waitpid");
    let interrupted = |line: &&String| line.contains("accept(") && line.contains(" = -1, ");
    server.wait_said(" = -1, ");
    let said = server.said();
    assert_eq!(said.iter().filter(interrupted).count(), 1, "{said:?}");
}

#[test]
fn a_fork_that_is_refused_is_told_with_its_reason() {
    let mut command = tcpserv("127.0.0.1", 0);
    refuse(command.arg("--trace"), FORKS, libc::EAGAIN);
    let server = Server::spawn(&mut command);
    let _client = connect(server.addr);
    let why = words(Errno::EAGAIN);
    server.wait_said(&format!("fork() = -1, {why}, holds "));
}

#[test]
fn lines_of_parent_and_children_never_mix() {
    let server = traced_server();
    let visits = (0..4).map(|_| {
        let addr = server.addr;
        std::thread::spawn(move || {
            for _ in 0..25 {
                Client::start(addr, &[])
                    .feed(b"one\ntwo\nthree\n")
                    .printed(b"one\ntwo\nthree\n");
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
    assert_eq!(
        server_events(&server).len(),
        said.len(),
        "each line is an event"
    );
}

#[test]
fn a_call_that_fails_is_told_with_its_reason() {
    let server = Server::start(&[]);
    let ended = run(tcpserv("127.0.0.1", server.addr.port()).arg("--trace"));
    let why = words(Errno::EADDRINUSE);
    let told = events(ended.stderr.lines());
    let [.., bind, close, holds] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(bind.state, "CLOSED");
    assert!(
        bind.text.starts_with("bind(") && bind.text.ends_with(&format!(" = -1, {why}")),
        "{bind:?}"
    );
    // After the error the socket goes out of scope.
    assert!(
        close.text.starts_with("close(") && close.text.ends_with(" = 0"),
        "{close:?}"
    );
    assert_eq!(holds.text, "holds no socket");
    let message = format!("tcpserv: bind error: {}: {why}", server.addr);
    assert_eq!(ended.stderr.lines().last(), Some(message.as_str()));

    let bound = unp::Socket(unp::AF_INET, unp::SOCK_STREAM, 0).unwrap();
    unp::Bind(&bound, "127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = unp::Getsockname(&bound).unwrap();
    let ended = run(tcpcli(nobody).arg("--trace"));
    let told = events(ended.stderr.lines());
    let connect = told.iter().find(|event| event.text.starts_with("connect("));
    let connect = connect.unwrap();
    assert_eq!(connect.state, "CLOSED");
    let why = words(Errno::ECONNREFUSED);
    assert!(
        connect.text.ends_with(&format!("{nobody}) = -1, {why}")),
        "{connect:?}"
    );
}

#[test]
fn the_end_of_the_idle_timeout_is_told() {
    let server = Server::start(&["--trace", "--idle-timeout", "1"]);
    let _stream = connect(server.addr);
    let waitpid = server.wait_said("waitpid(-1) = ");
    let (_, child) = waitpid.split_once("waitpid(-1) = ").unwrap();
    let child = Pid::from_raw(child.split(',').next().unwrap().parse().unwrap());
    let told = of(&server_events(&server), "tcpserv", child);
    let is_set =
        |(_, text): &(String, String)| text.contains("SO_RCVTIMEO and SO_SNDTIMEO, 1 s) = 0");
    assert!(told.iter().any(is_set), "{told:?}");
    let read = told.iter().find(|(_, text)| text.starts_with("read("));
    let (state, text) = read.unwrap();
    assert_eq!(state, "ESTABLISHED");
    assert!(text.ends_with(" = -1, idle for 1s"), "{text}");
}

#[test]
fn what_a_process_holds_is_told_also_without_a_free_descriptor() {
    let server = traced_server();
    wait_accepting(server.pid()); // it has a descriptor for the next connection
    let has = descriptors(server.pid());
    let lowest_free = (0..).find(|n| has.iter().all(|(fd, _)| fd != n)).unwrap();
    set_limit(server.pid(), libc::RLIMIT_NOFILE, Some(lowest_free as u64));
    let _client = connect(server.addr);
    let said = server.wait_said("fork() = 0, holds ");
    let both = format!(" LISTEN, {lowest_free} ESTABLISHED");
    assert!(said.ends_with(&both), "{said}");
}

/// Linux connects such a client to the server on its own host.
#[test]
fn a_client_of_0_0_0_0_is_told_with_its_real_peer() {
    let server = Server::start(&[]);
    let anywhere = ([0, 0, 0, 0], server.addr.port()).into();
    let ended = Client::start(anywhere, &["--trace"]).feed(b"");
    assert_eq!(ended.code, Some(0));
    let told = events(ended.stderr.lines());
    let states: Vec<_> = told.iter().map(|event| event.state.as_str()).collect();
    assert!(states.ends_with(&["TIME_WAIT"]), "{told:?}");
    let peer = format!(" to {}", server.addr);
    assert!(told.last().unwrap().text.ends_with(&peer), "{told:?}");
}

#[test]
fn a_sandbox_that_hides_the_kernels_table_is_told() {
    let server = Server::start(&[]);
    let mut command = tcpcli(server.addr);
    refuse(command.arg("--trace"), &[libc::SYS_sendto], libc::EPERM);
    let ended = Client::spawn(&mut command, Stdio::piped(), Stdio::piped()).feed(b"hello\n");
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"hello\n"[..]));
    let told = events(ended.stderr.lines());
    let [.., close, last] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(close.text.starts_with("close("), "{told:?}");
    assert_eq!(last.state, "");
    assert!(last.text.contains("not known"), "{told:?}");
}
