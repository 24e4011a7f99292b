//! Compares figures of states and segments with the kernel: the session in README.md and
//! README.zh-CN.md, and the figures in src/doc/figures.md.

use crate::common::*;
use crate::handshake::server;
use crate::peer::Peer;
use crate::session::{DELAY, Session, has_pingpong_thresh, session};
use std::collections::HashMap;
use std::iter;

pub fn w13_w6_a12_a16_f2_f7_f8_f10_the_figures_show_the_session_with_a_stopped_child() {
    let english = Figure::read("README.md", "blocked in", "bytes");
    let chinese = Figure::read("README.zh-CN.md", "休眠于", "字节");
    assert_eq!(english, chinese);

    // On a busy machine, the echo may be too late to carry the ACK, or a timer may fire late.
    let is_drawn = |it: &Session| {
        let alone = ack_alone(&english.segments);
        segments(it) == english.segments || !has_pingpong_thresh() && segments(it) == alone
    };
    let is_usual = |it: &Session| is_drawn(it) && delay_is_40_ms(it);
    let mut sessions = iter::repeat_with(|| session(true));
    let session = sessions.by_ref().take(4).find(is_usual);
    let session = session.unwrap_or_else(|| sessions.next().unwrap());
    if !is_drawn(&session) {
        assert_eq!(english.segments, segments(&session));
    }
    let four = [
        "FIN ACK seq 21 ack 21 length 0",
        "ACK seq 21 ack 22 length 0",
        "FIN ACK seq 21 ack 22 length 0",
        "ACK seq 22 ack 22 length 0",
    ];
    assert_eq!(last_segments(&session, 4), four);
    assert!(delay_is_40_ms(&session));
    for (who, pid) in [
        ("C", session.client),
        ("P", session.parent),
        ("K", session.child),
    ] {
        let its = session.events.iter().filter(|event| event.pid == pid);
        let mut told = its.map(|event| (call(&event.what, "sleeps"), value(&event.what)));
        for (_, call, value) in english.calls.iter().filter(|call| call.0 == who) {
            let is_told = told.any(|(name, its_value)| {
                name.as_ref() == Some(call) && (value.is_none() || its_value == *value)
            });
            assert!(is_told, "{who}: {call} {value:?}: {:#?}", session.events);
        }
    }
}

/// The segments when the ACK for the second line is sent separately.
fn ack_alone(segments: &[String]) -> Vec<String> {
    let segments = segments.iter().map(|segment| {
        let Some((from, states)) = segment.split_once("7 bytes, ACK") else {
            return vec![segment.clone()];
        };
        vec![
            format!("{from}ACK{states}"),
            format!("{from}7 bytes{states}"),
        ]
    });
    segments.flatten().collect()
}

pub fn w6_a_quick_child_closes_the_connection_with_three_segments() {
    let three = [
        "FIN ACK seq 21 ack 21 length 0",
        "FIN ACK seq 21 ack 22 length 0",
        "ACK seq 22 ack 22 length 0",
    ];
    // On a busy machine a child may take longer than the 40 ms of a delayed ACK.
    let is_quick = || last_segments(&session(false), 3) == three;
    wait_until("an end with three segments", is_quick);
}

fn last_segments(session: &Session, n: usize) -> Vec<String> {
    let segments = session.segments.iter();
    let segments = segments.map(|(segment, _)| segment.to_string());
    segments.skip(session.segments.len() - n).collect()
}

/// Whether the ACK of the client's FIN is sent about 40 ms after the FIN arrives (delayed ACK).
fn delay_is_40_ms(session: &Session) -> bool {
    let [fin, ack] = [4, 3].map(|n| session.segments[session.segments.len() - n].0.time);
    let delay = ack.saturating_sub(fin + DELAY);
    (30..=60).contains(&delay.as_millis())
}

/// The contents of a figure.
#[derive(Debug, Default, PartialEq)]
struct Figure {
    segments: Vec<String>,
    /// The process, the call (`read` or `read sleeps`), and any return value in the figure.
    calls: Vec<(String, String, Option<String>)>,
}

impl Figure {
    fn read(file: &str, sleeps: &str, bytes: &str) -> Figure {
        let mut said = Figure::default();
        let (mut client, mut server) = ("CLOSED", "CLOSED");
        for line in block(file, "sequenceDiagram\n").lines().map(str::trim) {
            let (head, text) = line.split_once(": ").unwrap_or((line, ""));
            if let Some(who) = head.strip_prefix("Note over ") {
                let end = if who == "C" { &mut client } else { &mut server };
                for words in text.replace("<br/>", ", ").split(", ") {
                    let state = STATES.split(' ').find(|state| words.contains(state));
                    *end = state.unwrap_or(*end);
                    let call = call(words, sleeps);
                    let call = call.map(|call| (who.to_owned(), call, value(words)));
                    said.calls.extend(call);
                }
            } else if let Some((from, _)) = head.split_once("-->>") {
                let call = call(text, sleeps); // fork
                said.calls
                    .extend(call.map(|call| (from.to_owned(), call, None)));
            } else if let Some((from, _)) = head.split_once("->>") {
                let text = text.replace(bytes, "bytes");
                let segment = segment(from == "C", &text, [client, server]);
                said.segments.push(segment);
            }
        }
        said
    }
}

/// Formats a segment with the states of both ends while it is in transit.
fn segment(is_clients: bool, what: &str, states: [&str; 2]) -> String {
    let from = if is_clients { "client" } else { "server" };
    format!("{from} sends {what}: {states:?}")
}

/// Formats segments as in the figure, such as `SYN K, ACK J+1`. J and K are the sequence numbers of
/// the client's and server's SYNs, M and N those of their FINs. An ACK appears only if it
/// acknowledges something new.
fn segments(session: &Session) -> Vec<String> {
    let (mut letters, mut acks) = (HashMap::new(), HashMap::new()); // the latest from each end
    let segments = session.segments.iter().map(|(it, states)| {
        let is_clients = it.side == "client";
        let mut what = Vec::new();
        for (flag, letter) in [("SYN", ["K", "J"]), ("FIN", ["N", "M"])] {
            if it.flags.contains(flag) {
                let letter = letter[usize::from(is_clients)];
                letters.insert(is_clients, (it.seq, letter));
                what.push(format!("{flag} {letter}"));
            }
        }
        if !it.data.is_empty() {
            what.push(format!("{} bytes", it.data.len()));
        }
        if it.flags.contains("ACK") && acks.insert(is_clients, it.ack) != Some(it.ack) {
            let letter = letters
                .get(&!is_clients)
                .filter(|(seq, _)| seq + 1 == it.ack);
            let number = letter.map(|(_, letter)| format!(" {letter}+1"));
            what.push(format!("ACK{}", number.unwrap_or_default()));
        }
        segment(is_clients, &what.join(", "), *states)
    });
    segments.collect()
}

/// Returns the call that these words name, and whether it blocks.
fn call(words: &str, sleeps: &str) -> Option<String> {
    const CALLS: &str = "socket bind listen accept connect fork close Fgets Writen Readline Fputs \
        read exit _exit waitpid";
    let mut names = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let name = names.find(|name| CALLS.split(' ').any(|call| call == *name))?;
    let is_asleep = words.contains(sleeps);
    Some(format!("{name}{}", if is_asleep { " sleeps" } else { "" }))
}

/// Returns the call's return value, if it is a number or NULL.
fn value(words: &str) -> Option<String> {
    let (_, last) = words.trim_end_matches(',').rsplit_once(' ')?;
    let is_value = last == "NULL" || last.parse::<u32>().is_ok();
    is_value.then(|| last.to_owned())
}

/// Returns the rest of the block that starts with `start`.
fn block(file: &str, start: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Returns the lines of a figure in src/doc/figures.md, without repeated blanks.
fn figure(id: &str) -> Vec<String> {
    let fold = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = fs::read_to_string("src/doc/figures.md").unwrap();
    let (_, section) = text.split_once(&format!("## {id}: ")).unwrap();
    let figure = section.split("```").nth(1).unwrap();
    figure.lines().skip(1).map(fold).collect() // the first line is `text`
}

pub fn f6_an_entry_goes_from_syn_rcvd_to_established_and_the_queue_holds_backlog_and_one() {
    let server = server(9877, &["--backlog", "1"]);
    let stopped = server.stop_accepting();
    let mut clients = [1500, 1501].map(|port| Peer::client(port, server.addr));
    let mut states = Vec::new();
    for client in &mut clients {
        client.send("SYN", 0, 0, b"");
        client.expect("SYN ACK", 0, 1, b"");
        states.push(client.kernel_state().unwrap());
        client.send("ACK", 1, 1, b"");
        wait_state(server.addr, client.addr, "ESTABLISHED");
        states.push("ESTABLISHED");
    }
    wait_until("a full queue", || queued(9877) == 2); // backlog + 1
    let figure = figure("F6");
    assert!(figure[0].ends_with("completed connection queue, at most backlog + 1"));
    let drawn = figure[2]
        .split(' ')
        .filter(|word| STATES.split(' ').any(|state| state == *word));
    assert_eq!(drawn.collect::<Vec<_>>().repeat(2), states);
    stopped.go_on();
    wait_until("accept to take both", || queued(9877) == 0);
}

pub fn d1_w11_f11_segments_go_to_the_socket_of_their_four_tuple_or_to_the_listening_one() {
    let server = server(21, &[]);
    let mut clients = [1500, 1501].map(|port| Peer::connected(port, server.addr));
    server.wait_children(2);
    let socket = |row: &Connection| format!("{} {} {}", row.local, row.state, row.remote);
    let mut sockets: Vec<_> = connections(21).iter().map(socket).collect();
    sockets.sort();
    let figure = figure("F11");
    let drawn = figure.iter().filter_map(|line| {
        let (_, socket) = line.split_once("> ")?;
        Some(socket.split(' ').take(3).collect::<Vec<_>>().join(" "))
    });
    assert_eq!(drawn.collect::<Vec<_>>(), sockets);

    for client in &mut clients {
        let line = format!("from {}\n", client.addr.port());
        client.send("ACK", 1, 1, line.as_bytes());
        client.expect("ACK", 1, 11, b"");
        client.expect("ACK", 1, 11, line.as_bytes());
        let child = server.child_for(client.addr);
        show_process(child, format_args!("has read {} bytes", io(child).rchar));
        client.kernel_state();
    }
    // The listening socket accepts only a SYN.
    let mut three = Peer::client(1502, server.addr);
    three.remark = "(to the listening socket)";
    three.send("ACK", 1, 77, b"from 1502\n");
    three.expect("RST", 77, 0, b"");
    three.remark = "(to the listening socket)";
    three.send("SYN", 0, 0, b"");
    three.expect("SYN ACK", 0, 1, b"");
}

pub fn f1_a_line_goes_through_the_calls_of_the_figure() {
    let figure = figure("F1");
    let (there, back) = (figure[0].split(' '), figure[4].rsplit(' '));
    let drawn: Vec<_> = there.chain(back).collect();
    assert_eq!(drawn.len(), 6);
    let mut events = session(false).events;
    events.sort_by_key(|event| event.time);
    let told = events.iter().map(|event| &event.what);
    let mut told = told.filter_map(|what| call(what, "sleeps"));
    for call in drawn {
        assert!(told.any(|told| told == call), "{call}: {events:#?}");
    }
}
