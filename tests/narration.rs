//! --trace: what it tells is true and in order, and the programs do the same without it.

mod common;

use common::*;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// A line of a narration, taken apart.
#[derive(Clone, Debug)]
struct Event {
    time: String,
    process: String,
    /// Empty where there is none.
    state: String,
    text: String,
}

/// `14:03:07.001234 tcpcli[4711] CLOSED connect(3, 127.0.0.1:9877) = 0`
fn event(line: &str) -> Event {
    let (time, rest) = line.split_once(' ').expect(line);
    let digits: Vec<_> = time.split([':', '.']).map(str::len).collect();
    assert_eq!(digits, [2, 2, 2, 6], "{line}");
    let (process, rest) = rest.split_once(char::is_whitespace).expect(line);
    let rest = rest.trim_start();
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_state = STATES.contains(&word);
    Event {
        time: time.to_owned(),
        process: process.to_owned(),
        state: if is_state { word } else { "" }.to_owned(),
        text: if is_state { text.trim_start() } else { rest }.to_owned(),
    }
}

/// The lines of a narration, without those that a program prints in any case.
fn events<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    let is_event = |line: &&str| line.as_bytes()[0].is_ascii_digit();
    let lines = lines.into_iter().filter(is_event);
    lines.map(event).collect()
}

fn told_by(server: &Server) -> Vec<Event> {
    events(server.said().iter().map(String::as_str))
}

/// The first event of a process whose text begins so.
fn first<'a>(events: &'a [Event], process: &str, start: &str) -> &'a Event {
    let is_it = |event: &&Event| event.process == process && event.text.starts_with(start);
    let found = events.iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {start:?} of {process} in {events:#?}"))
}

/// The number of the socket that a process made first.
fn number(events: &[Event]) -> &str {
    let socket = "socket(AF_INET, SOCK_STREAM, 0) = ";
    let made = events
        .iter()
        .find_map(|event| event.text.strip_prefix(socket));
    made.unwrap()
}

/// The states in the lines that tell a new state of this socket, from one event on.
fn states_after<'a>(events: &'a [Event], event: &Event, number: &str) -> Vec<&'a str> {
    let of_socket = format!("{number}: ");
    let later = |other: &&Event| {
        other.process == event.process
            && other.time >= event.time
            && other.text.starts_with(&of_socket)
    };
    let states = events.iter().filter(later);
    states.map(|event| event.state.as_str()).collect()
}

fn traced_server() -> Server {
    Server::start(&["--trace"])
}

fn traced_client(server: &Server) -> Client {
    Client::start(server.addr, &["--trace"])
}

/// A session of one line, told by both programs.
struct Session {
    events: Vec<Event>,
    /// As in the narration: `tcpcli[4711]`.
    client: String,
    parent: String,
    child: String,
    cliaddr: std::net::SocketAddr,
    servaddr: std::net::SocketAddr,
}

fn session() -> Session {
    let server = traced_server();
    let mut client = traced_client(&server);
    let cliaddr = client.addr();
    let child = server.child_for(cliaddr);
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");
    wait_reading_input(client.pid());
    wait_reading_socket(child);
    wait_accepting(server.pid());
    let pid = client.pid();
    let ended = client.finish();
    assert_eq!((ended.code, ended.stdout), (Some(0), vec![]));
    server.wait_said("waitpid");

    let mut all = events(ended.stderr.lines());
    assert_eq!(all.len(), ended.stderr.lines().count());
    all.extend(told_by(&server));
    Session {
        events: all,
        client: format!("tcpcli[{pid}]"),
        parent: format!("tcpserv[{}]", server.pid()),
        child: format!("tcpserv[{child}]"),
        cliaddr,
        servaddr: server.addr,
    }
}

/// Asserts that a process told just these calls, each begins so. Lines of states and of
/// options do not count.
#[track_caller]
fn told_calls(events: &[Event], process: &str, expected: &[String]) {
    let is_call = |event: &&Event| {
        let text = &event.text;
        let is_state = text.starts_with(|first: char| first.is_ascii_digit());
        event.process == process && !is_state && !text.starts_with("setsockopt")
    };
    let calls: Vec<_> = events.iter().filter(is_call).collect();
    let same = calls
        .iter()
        .zip(expected)
        .all(|(event, start)| event.text.starts_with(start));
    assert!(same && calls.len() == expected.len(), "{calls:#?}");
}

#[test]
fn both_programs_tell_each_call_of_the_listings() {
    let Session {
        events,
        client,
        parent,
        child,
        servaddr,
        ..
    } = session();
    let n = number(&events);
    let expected = [
        format!("socket(AF_INET, SOCK_STREAM, 0) = {n}"),
        format!("connect({n}, {servaddr}) = 0"),
        "Fgets(stdin) = 6".to_owned(),
        format!("Writen({n}) = 6"),
        format!("Readline({n}) = 6"),
        "Fputs(stdout) = 0".to_owned(),
        "Fgets(stdin) = NULL".to_owned(),
        format!("close({n}) = 0"),
    ];
    told_calls(&events, &client, &expected);

    let accept = first(&events, &parent, "accept(");
    let numbers = accept.text.strip_prefix("accept(").unwrap();
    let (listenfd, connfd) = numbers.split_once(") = ").unwrap();
    let (connfd, _) = connfd.split_once(',').unwrap();
    let expected = [
        "fork() = 0".to_owned(),
        format!("close({listenfd}) = 0"),
        format!("read({connfd}) = 6"),
        format!("Writen({connfd}) = 6"),
        format!("read({connfd}) = 0"),
        format!("close({connfd}) = 0"),
        "_exit(0)".to_owned(),
    ];
    told_calls(&events, &child, &expected);

    let pid = child.trim_start_matches("tcpserv[").trim_end_matches(']');
    first(&events, &parent, &format!("fork() = {pid}"));
    first(&events, &parent, &format!("close({connfd}) = 0"));
    let waitpid = first(&events, &parent, "waitpid(");
    assert!(waitpid.text.contains(&format!(" = {pid}")), "{waitpid:?}");
}

#[test]
fn both_programs_tell_the_states_that_each_call_leads_to() {
    let Session {
        events,
        client,
        parent,
        child,
        cliaddr,
        servaddr,
    } = session();
    let state = |process, text| first(&events, process, text).state.as_str();
    assert_eq!(state(&client, "socket("), "CLOSED");
    assert_eq!(state(&client, "connect("), "CLOSED", "before the call");
    assert_eq!(state(&client, "Writen("), "ESTABLISHED");
    assert_eq!(state(&client, "Readline("), "ESTABLISHED");
    assert_eq!(state(&client, "close("), "ESTABLISHED", "before the call");
    let n = number(&events);
    let ends = format!("{n}: {cliaddr} to {servaddr}");
    assert_eq!(state(&client, &ends), "ESTABLISHED");

    let close = first(&events, &client, "close(");
    let after = states_after(&events, close, n);
    // How many of them the client sees is a matter of microseconds. A kernel whose table of
    // TIME_WAIT is full goes to CLOSED at once.
    let order = ["FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED"];
    let place = |state: &&str| order.iter().position(|other| other == state);
    assert!(
        after.iter().all(|state| place(state).is_some()),
        "{after:?}"
    );
    assert!(after.is_sorted_by_key(place), "{after:?}");
    assert!(place(after.last().unwrap()) >= place(&"TIME_WAIT"));

    assert_eq!(state(&parent, "listen("), "LISTEN");
    assert_eq!(state(&child, "read("), "ESTABLISHED");
    assert_eq!(state(&child, "Writen("), "ESTABLISHED");
    let is_fin = |event: &&Event| event.process == child && event.text.ends_with(") = 0");
    let mut reads = events.iter().filter(is_fin);
    let fin = reads.find(|event| event.text.starts_with("read("));
    assert_eq!(fin.unwrap().state, "CLOSE_WAIT");
}

#[test]
fn sorted_by_time_a_cause_stands_before_its_effect() {
    let Session {
        events,
        client,
        parent,
        child,
        ..
    } = session();
    let pid = child.trim_start_matches("tcpserv[").trim_end_matches(']');
    let forked = format!("fork() = {pid}");
    let waited = format!("waitpid(-1) = {pid}");
    let steps = [
        (&client, "connect("),
        (&parent, "accept("),
        (&parent, forked.as_str()),
        (&child, "fork() = 0"),
        (&client, "Writen("),
        (&child, "read("),
        (&child, "Writen("),
        (&client, "Readline("),
        (&client, "Fgets(stdin) = NULL"),
        (&client, "close("),
        (&child, "_exit("),
        (&parent, waited.as_str()),
    ];
    let times = steps.map(|(process, text)| &first(&events, process, text).time);
    assert!(times.is_sorted(), "{times:?}");
    // In TIME_WAIT the client has the server's FIN.
    let is_time_wait = |event: &&Event| event.process == client && event.state == "TIME_WAIT";
    if let Some(time_wait) = events.iter().find(is_time_wait) {
        let connfd = first(&events, &child, "read(").text[5..].split(')').next();
        let close = format!("close({})", connfd.unwrap());
        assert!(first(&events, &child, &close).time <= time_wait.time);
    }
}

#[test]
fn fork_and_close_tell_which_sockets_each_process_holds() {
    let Session {
        events,
        parent,
        child,
        ..
    } = session();
    let accept = first(&events, &parent, "accept(");
    let numbers = accept.text.strip_prefix("accept(").unwrap();
    let (listenfd, connfd) = numbers.split_once(") = ").unwrap();
    let (connfd, _) = connfd.split_once(',').unwrap();
    let (listen, established) = (
        format!("{listenfd} LISTEN"),
        format!("{connfd} ESTABLISHED"),
    );
    let holds = |process, text: &str| {
        let told = &first(&events, process, text).text;
        let (_, held) = told.split_once("holds ").expect(told);
        [held.contains(&listen), held.contains(&established)]
    };
    assert_eq!(holds(&parent, "fork() = "), [true, true]);
    assert_eq!(holds(&child, "fork() = 0"), [true, true]);
    let (close_listenfd, close_connfd) = (format!("close({listenfd})"), format!("close({connfd})"));
    assert_eq!(holds(&parent, &close_connfd), [true, false]);
    assert_eq!(holds(&child, &close_listenfd), [false, true]);
    assert_eq!(holds(&child, &close_connfd), [false, false]);
}

#[test]
fn the_server_tells_socket_bind_and_listen() {
    let server = Server::start(&["--trace", "--backlog", "7"]);
    let told = told_by(&server);
    let process = format!("tcpserv[{}]", server.pid());
    let n = number(&told);
    let expected = [
        format!("socket(AF_INET, SOCK_STREAM, 0) = {n}"),
        format!("bind({n}, 127.0.0.1:0) = 0"),
        format!("listen({n}, 7) = 0"),
    ];
    told_calls(&told, &process, &expected);
    for (call, state) in [
        ("socket(", "CLOSED"),
        ("bind(", "CLOSED"),
        ("listen(", "LISTEN"),
    ] {
        assert_eq!(first(&told, &process, call).state, state);
    }
}

#[test]
fn no_time_wait_is_told_while_the_stopped_child_sends_no_fin() {
    let server = traced_server();
    let mut client = traced_client(&server);
    let child = server.child_for(client.addr());
    wait_reading_socket(child);
    let stopped = stop(child);

    let start = Instant::now();
    let ended = client.finish();

    assert_eq!(ended.code, Some(0));
    let elapsed = start.elapsed();
    let a_second = Duration::from_millis(900)..DEADLINE;
    assert!(a_second.contains(&elapsed), "{elapsed:?}");
    let told = events(ended.stderr.lines());
    let close = told.iter().find(|event| event.text.starts_with("close("));
    let after = states_after(&told, close.unwrap(), number(&told));
    assert_eq!(after.last(), Some(&"FIN_WAIT_2"), "{after:?}");

    drop(stopped);
    server.wait_said("waitpid");
}

#[test]
fn accept_tells_how_many_connections_wait_in_the_queue() {
    let server = traced_server();
    wait_accepting(server.pid());
    let stopped = stop(server.pid());
    let _clients = [(); 3].map(|()| connect(server.addr));
    drop(stopped);

    let said = server.wait_said("accept(");
    assert!(said.ends_with(", 2 in its queue"), "{said}");
}

#[test]
fn the_client_tells_close_wait_after_the_child_was_killed() {
    let server = traced_server();
    let mut client = traced_client(&server);
    let cliaddr = client.addr();
    signal(server.child_for(cliaddr), Signal::SIGKILL);
    let said = server.wait_said("waitpid");
    assert!(said.contains("9 (SIGKILL)"), "{said}");
    wait_state(cliaddr, server.addr, "CLOSE_WAIT");
    client.type_in(b"hello?\n");

    let ended = client.wait();

    assert_eq!(ended.code, Some(1));
    let why = "tcpcli: str_cli: server terminated prematurely";
    assert!(ended.stderr.lines().any(|line| line == why));
    let told = events(ended.stderr.lines());
    let process = format!("tcpcli[{}]", client.pid());
    assert_eq!(first(&told, &process, "Writen(").state, "CLOSE_WAIT");
    let readline = format!("Readline({}) = 0", number(&told));
    first(&told, &process, &readline);
}

#[test]
fn the_half_close_and_its_states_are_told() {
    let server = traced_server();
    let mut client = traced_client(&server);
    let addr = client.addr();
    let child = server.child_for(addr);
    wait_reading_socket(child);
    let stopped = stop(child);
    client.type_in(b"last");
    client.end_input();
    wait_state(addr, server.addr, "FIN_WAIT_2");
    drop(stopped);

    let ended = client.wait();

    assert_eq!((ended.code, ended.stdout), (Some(0), b"last".to_vec()));
    let told = events(ended.stderr.lines());
    let process = format!("tcpcli[{}]", client.pid());
    let n = number(&told);
    let shutdown = first(&told, &process, &format!("shutdown({n}, SHUT_WR) = 0"));
    assert_eq!(shutdown.state, "ESTABLISHED", "before the call");
    let after = states_after(&told, shutdown, n);
    assert!(after[0].starts_with("FIN_WAIT_"), "{after:?}");
    // In TIME_WAIT the kernel detaches the connection from its open socket.
    let readline = first(&told, &process, &format!("Readline({n}) = 4"));
    let possible = ["FIN_WAIT_2", "TIME_WAIT"];
    assert!(possible.contains(&readline.state.as_str()), "{readline:?}");
}

#[test]
fn the_lines_of_parent_and_children_do_not_mix() {
    let server = traced_server();
    let addr = server.addr;
    let visits = (0..4).map(|_| {
        std::thread::spawn(move || {
            for _ in 0..25 {
                let lines = b"one\ntwo\nthree\n";
                Client::start(addr, &[]).feed(lines).printed(lines);
            }
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        visit.join().unwrap();
    }
    let waited = |server: &Server| {
        let said = server.said();
        said.iter().filter(|line| line.contains("waitpid")).count()
    };
    wait_until("the wait for each child", || waited(&server) == 100);
    let said = server.said();
    let told = events(said.iter().map(String::as_str));
    assert_eq!(told.len(), said.len(), "each line is an event");
}

#[test]
fn a_call_that_fails_is_told() {
    let server = Server::start(&[]);
    let mut second = tcpserv("127.0.0.1", server.addr.port());
    let ended = run(second.arg("--trace"));
    assert_eq!(ended.code, Some(1));
    let told = events(ended.stderr.lines());
    let why = "Address already in use (os error 98)";
    let expected = format!("bind({}, {}) = -1, {why}", number(&told), server.addr);
    let last = told.last().unwrap();
    assert_eq!((last.state.as_str(), &last.text), ("CLOSED", &expected));

    let bound = socket2::Socket::new(unp::AF_INET, unp::SOCK_STREAM, None).unwrap();
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    bound.bind(&any_port.into()).unwrap(); // it does not listen
    let nobody = bound.local_addr().unwrap().as_socket().unwrap();
    let ended = run(tcpcli(nobody).arg("--trace"));
    assert_eq!(ended.code, Some(1));
    let told = events(ended.stderr.lines());
    let why = "Connection refused (os error 111)";
    let expected = format!("connect({}, {nobody}) = -1, {why}", number(&told));
    let last = told.last().unwrap();
    assert_eq!((last.state.as_str(), &last.text), ("CLOSED", &expected));
}
