//! --trace: what it tells is so, in that order, and it changes nothing else.

mod common;

use common::*;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// A line of a narration, taken apart at its columns.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    time: String,
    process: String,
    state: String,
    call: String,
}

fn event(line: &str) -> Event {
    let column = |from: usize, to: usize| line[from..to].trim_end().to_owned();
    let event = Event {
        time: column(0, 15),
        process: column(16, 32),
        state: column(33, 44),
        call: line[45..].to_owned(),
    };
    let digits: Vec<_> = event.time.split([':', '.']).map(str::len).collect();
    assert_eq!(digits, [2, 2, 2, 6], "{line}");
    assert!(
        [15, 32, 44].iter().all(|&gap| line.as_bytes()[gap] == b' '),
        "{line}"
    );
    event
}

/// The lines of a narration, without those that a program says anyway.
fn events(lines: &[String]) -> Vec<Event> {
    let narrated = |line: &&String| line.as_bytes()[0].is_ascii_digit();
    lines
        .iter()
        .filter(narrated)
        .map(|line| event(line))
        .collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// State and call, as a pair to compare.
fn told(events: &[Event]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| (event.state.as_str(), event.call.as_str()))
        .collect()
}

fn of<'a>(events: &'a [Event], process: &str) -> Vec<(&'a str, &'a str)> {
    let its = events.iter().filter(|event| event.process == process);
    its.map(|event| (event.state.as_str(), event.call.as_str()))
        .collect()
}

fn traced_server() -> Server {
    Server::start(&["--trace"])
}

fn traced_client(server: &Server) -> Client {
    Client::start(server.addr, &["--trace"])
}

#[test]
fn both_programs_tell_the_whole_sequence() {
    let server = traced_server();
    let (servaddr, parent) = (server.addr, server.pid());
    let mut client = traced_client(&server);
    let cliaddr = client.addr();
    let child = server.child_for(cliaddr);
    client.type_in(b"hello\n");
    assert_eq!(client.printed(6), b"hello\n");
    wait_reading_input(client.pid());
    wait_reading_socket(child);
    wait_accepting(parent);
    let pid = client.pid();
    let ended = client.finish();
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), &b""[..]));

    let client = events(&lines(&ended.stderr));
    assert_eq!(
        client.len(),
        ended.stderr.lines().count(),
        "not a word besides"
    );
    assert!(
        client
            .iter()
            .all(|event| event.process == format!("tcpcli[{pid}]"))
    );
    assert_eq!(
        told(&client[..7]),
        [
            ("CLOSED", "socket(AF_INET, SOCK_STREAM, 0) = 3"),
            (
                "ESTABLISHED",
                &format!("connect(3) = 0, {cliaddr} -> {servaddr}")
            ),
            ("ESTABLISHED", "Fgets = 6"),
            ("ESTABLISHED", "Writen(3) = 6"),
            ("ESTABLISHED", "Readline = 6"),
            ("ESTABLISHED", "Fgets = NULL, end of file"),
            ("ESTABLISHED", "str_cli returns"),
        ]
    );
    assert_eq!(client[7].call, "close(3) = 0, as the exit would do");
    // Which states there are between close and TIME_WAIT is a matter of microseconds.
    let mut after: Vec<_> = client[7..]
        .iter()
        .map(|event| event.state.as_str())
        .collect();
    assert_eq!(after.pop(), Some(""), "exit");
    assert_eq!(after.last(), Some(&"TIME_WAIT"));
    let possible = ["FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT"];
    let place = |state: &&str| possible.iter().position(|other| other == state);
    assert!(
        after.iter().all(|state| place(state).is_some()),
        "{after:?}"
    );
    assert!(after.is_sorted_by_key(place), "{after:?}");
    assert!(
        client[8..client.len() - 1]
            .iter()
            .all(|event| event.call == "(3 is closed)")
    );
    assert_eq!(client.last().unwrap().call, "exit");

    server.wait_said("waitpid");
    let served = events(&server.said());
    assert_eq!(
        of(&served, &format!("tcpserv[{child}]"))[..6],
        [
            ("", "fork() = 0"),
            ("LISTEN", "close(3) = 0, the parent still holds it"),
            ("ESTABLISHED", "read(4) = 6"),
            ("ESTABLISHED", "Writen(4) = 6"),
            ("CLOSE_WAIT", "read(4) = 0, the FIN"),
            ("CLOSE_WAIT", "str_echo(4) returns"),
        ]
    );
    let at_its_end = &of(&served, &format!("tcpserv[{child}]"))[6..];
    assert!(
        ["LAST_ACK", "CLOSED"].contains(&at_its_end[0].0),
        "{at_its_end:?}"
    );
    assert_eq!(at_its_end[0].1, "close(4) = 0, as the exit would do");
    assert_eq!(at_its_end[1..], [("", "_exit(0)")]);

    let in_between = of(&served, &format!("tcpserv[{parent}]"));
    let accept = format!("accept(3) = 4, {servaddr} <- {cliaddr}, 0 more in the queue");
    assert_eq!(
        in_between[3..7],
        [
            ("ESTABLISHED", accept.as_str()),
            ("", &format!("fork() = {child}")),
            ("ESTABLISHED", "close(4) = 0, the child still holds it"),
            (
                "",
                &format!("waitpid({child}) = {child}, which exited with status 0")
            ),
        ]
    );
}

#[test]
fn the_server_tells_of_its_beginning() {
    let server = Server::start(&["--trace", "--backlog", "7"]);
    let first = events(&server.said());
    assert_eq!(
        told(&first),
        [
            ("CLOSED", "socket(AF_INET, SOCK_STREAM, 0) = 3"),
            ("CLOSED", "bind(3, 127.0.0.1:0) = 0"),
            ("LISTEN", "listen(3, 7) = 0"),
        ]
    );
}

#[test]
fn the_column_tells_the_truth_while_the_child_is_held_still() {
    let server = traced_server();
    let mut client = traced_client(&server);
    let child = server.child_for(client.addr());
    wait_reading_socket(child);
    let still = stop(child);

    let start = Instant::now();
    let ended = client.finish();

    assert_eq!(ended.code, Some(0));
    assert!(
        start.elapsed() > Duration::from_millis(900),
        "it watched for a second"
    );
    assert!(start.elapsed() < Duration::from_secs(20), "and no longer");
    let client = events(&lines(&ended.stderr));
    let states: Vec<_> = client.iter().map(|event| event.state.as_str()).collect();
    assert!(!states.contains(&"TIME_WAIT"), "{states:?}");
    assert_eq!(states[states.len() - 2..], ["FIN_WAIT_2", ""]);

    drop(still);
    server.wait_said("waitpid");
    let served = events(&server.said());
    let its = of(&served, &format!("tcpserv[{child}]"));
    let read = its.iter().position(|(_, call)| call.starts_with("read"));
    assert_eq!(its[read.unwrap()], ("CLOSE_WAIT", "read(4) = 0, the FIN"));
}

#[test]
fn it_tells_how_many_wait_in_the_queue_and_that_the_server_has_gone() {
    let server = traced_server();
    wait_accepting(server.pid());
    let still = stop(server.pid());
    let mut client = traced_client(&server);
    let cliaddr = client.addr();
    let _others = [connect(server.addr), connect(server.addr)];
    drop(still);

    let said = server.wait_said(&format!("<- {cliaddr}"));
    assert!(said.ends_with(", 2 more in the queue"), "{said}");

    let child = server.child_for(cliaddr);
    signal(child, Signal::SIGKILL);
    let said = server.wait_said("waitpid");
    assert!(
        said.ends_with("which was killed by signal 9 (SIGKILL)"),
        "{said}"
    );
    wait_state(cliaddr, server.addr, "CLOSE_WAIT");
    client.type_in(b"hello?\n");
    let ended = client.wait();
    assert_eq!(ended.code, Some(1), "as without --trace");
    let said = lines(&ended.stderr);
    assert_eq!(
        said.last().unwrap(),
        "tcpcli: str_cli: server terminated prematurely"
    );
    let events = events(&said);
    let fgets = events
        .iter()
        .find(|event| event.call == "Fgets = 7")
        .unwrap();
    assert_eq!(fgets.state, "CLOSE_WAIT", "it could have been known");
    let end: Vec<_> = events
        .iter()
        .rev()
        .take(3)
        .map(|event| &event.call)
        .collect();
    assert_eq!(
        end,
        ["exit", "close(3) = 0, as the exit would do", "Readline = 0"]
    );
}

#[test]
fn a_half_close_is_seen_in_the_column() {
    let server = traced_server();
    let mut client = traced_client(&server);
    let addr = client.addr();
    let child = server.child_for(addr);
    wait_reading_socket(child);
    let still = stop(child);
    client.type_in(b"last");
    client.end_input();
    wait_state(addr, server.addr, "FIN_WAIT_2");
    drop(still);

    let ended = client.wait();
    assert_eq!(
        (ended.code, ended.stdout.as_slice()),
        (Some(0), &b"last"[..])
    );
    let events = events(&lines(&ended.stderr));
    let shutdown = events
        .iter()
        .find(|event| event.call.starts_with("shutdown"))
        .unwrap();
    assert_eq!(shutdown.call, "shutdown(3, SHUT_WR) = 0");
    assert!(
        ["FIN_WAIT_1", "FIN_WAIT_2"].contains(&shutdown.state.as_str()),
        "{shutdown:?}"
    );
    // In TIME_WAIT the connection has left its socket, which is open: still it is found.
    let readline = events
        .iter()
        .find(|event| event.call == "Readline = 4")
        .unwrap();
    assert!(
        ["FIN_WAIT_2", "TIME_WAIT"].contains(&readline.state.as_str()),
        "{readline:?}"
    );
    let end: Vec<_> = events
        .iter()
        .rev()
        .map(|event| event.state.as_str())
        .take(2)
        .collect();
    assert_eq!(end, ["", "TIME_WAIT"]);
}

#[test]
fn lines_of_parent_and_children_never_mix() {
    let server = traced_server();
    let visits = (0..4).map(|_| {
        let addr = server.addr;
        std::thread::spawn(move || {
            for _ in 0..25 {
                assert_eq!(
                    Client::start(addr, &[]).feed(b"one\ntwo\nthree\n").stdout,
                    b"one\ntwo\nthree\n"
                );
            }
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        visit.join().unwrap();
    }
    wait_until("the last child to be reaped", || {
        server.children().is_empty()
    });
    wait_until("all its words", || {
        server
            .said()
            .iter()
            .filter(|line| line.contains("waitpid"))
            .count()
            == 100
    });
    let said = server.said();
    assert_eq!(events(&said).len(), said.len(), "each line is an event");
}

#[test]
fn a_call_that_fails_is_told_as_well() {
    let server = Server::start(&[]);
    let port = server.addr.port().to_string();
    let mut second = std::process::Command::new(TCPSERV);
    let ended = run(second.args(["--trace", "-b", "127.0.0.1", "-p", &port]));
    let said = lines(&ended.stderr);
    let why = "Address already in use (os error 98)";
    let bind = format!("bind(3, 127.0.0.1:{port}) = -1, {why}");
    assert_eq!(
        told(&events(&said)).last(),
        Some(&("CLOSED", bind.as_str()))
    );
    assert_eq!(
        said.last().unwrap(),
        &format!("tcpserv: bind error: 127.0.0.1:{port}: {why}")
    );

    let bound = socket2::Socket::new(unp::AF_INET, unp::SOCK_STREAM, None).unwrap();
    bound
        .bind(
            &"127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        )
        .unwrap();
    let nobody = bound.local_addr().unwrap().as_socket().unwrap();
    let ended = run(tcpcli(nobody).arg("--trace"));
    let connect = "connect(3) = -1, Connection refused (os error 111)";
    assert_eq!(
        told(&events(&lines(&ended.stderr))).last(),
        Some(&("CLOSED", connect))
    );
}
