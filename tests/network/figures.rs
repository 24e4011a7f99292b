//! The figures of the whole session (README.md, README.zh-CN.md), and those of src/doc/figures.md that
//! say something of states or segments: the kernel says the same.

use crate::common::*;
use crate::handshake::server;
use crate::peer::Peer;
use crate::session::{Session, session};

pub fn w13_w6_a12_a16_f2_f7_f8_f10_the_figures_show_the_session_with_a_stopped_child() {
    let english = Figure::read("README.md", "sleeps", "bytes");
    let chinese = Figure::read("README.zh-CN.md", "休眠于", "字节");
    assert_eq!(english, chinese);

    let session = session(true);
    assert_eq!(english.segments, segments(&session));
    let four = [
        "FIN ACK seq 14 ack 14 length 0",
        "ACK seq 14 ack 15 length 0",
        "FIN ACK seq 14 ack 15 length 0",
        "ACK seq 15 ack 15 length 0",
    ];
    assert_eq!(last_segments(&session, 4), four);
    for (who, pid) in [
        ("C", session.client),
        ("P", session.parent),
        ("K", session.child),
    ] {
        let its = session.events.iter().filter(|event| event.pid == pid);
        let mut told = its.filter_map(|event| call(&event.what, "sleeps"));
        for (_, call) in english.calls.iter().filter(|(by, _)| by == who) {
            let is_told = told.any(|told| told == *call);
            assert!(is_told, "{who}: {call}: {:#?}", session.events);
        }
    }
}

pub fn w6_three_segments_end_a_connection_when_the_child_is_quick() {
    let three = [
        "FIN ACK seq 14 ack 14 length 0",
        "FIN ACK seq 14 ack 15 length 0",
        "ACK seq 15 ack 15 length 0",
    ];
    // On a busy machine a child may take longer than an ACK may be delayed: 40 ms.
    let is_quick = || last_segments(&session(false), 3) == three;
    wait_until("an end with three segments", is_quick);
}

fn last_segments(session: &Session, n: usize) -> Vec<String> {
    let segments = session.segments.iter();
    let segments = segments.map(|(segment, _)| segment.to_string());
    segments.skip(session.segments.len() - n).collect()
}

/// What a figure says.
#[derive(Debug, Default, PartialEq)]
struct Figure {
    segments: Vec<String>,
    /// Whose, and `accept` or `accept sleeps`.
    calls: Vec<(String, String)>,
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
                    said.calls.extend(call.map(|call| (who.to_owned(), call)));
                }
            } else if let Some((from, _)) = head.split_once("-->>") {
                let call = call(text, sleeps); // fork
                said.calls.extend(call.map(|call| (from.to_owned(), call)));
            } else if let Some((from, _)) = head.split_once("->>") {
                let text = text.replace(bytes, "bytes");
                let segment = segment(from == "C", &text, [client, server]);
                said.segments.push(segment);
            }
        }
        said
    }
}

/// A segment, and the states of both ends while it is on its way.
fn segment(is_clients: bool, what: &str, states: [&str; 2]) -> String {
    let from = if is_clients { "client" } else { "server" };
    format!("{from} sends {what}: {states:?}")
}

fn segments(session: &Session) -> Vec<String> {
    let segments = session.segments.iter().map(|(it, states)| {
        let what = match it.data.len() {
            0 => it.flags.replace("FIN ACK", "FIN"),
            bytes => format!("{bytes} bytes"),
        };
        segment(it.side == "client", &what, *states)
    });
    segments.collect()
}

/// The call that is named in these words, and whether it sleeps.
fn call(words: &str, sleeps: &str) -> Option<String> {
    const CALLS: &str = "socket bind listen accept connect fork close Fgets Writen Readline Fputs \
        read exit _exit waitpid";
    let mut names = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let name = names.find(|name| CALLS.split(' ').any(|call| call == *name))?;
    let is_asleep = words.contains(sleeps);
    Some(format!("{name}{}", if is_asleep { " sleeps" } else { "" }))
}

/// The rest of the block in which this stands.
fn block(file: &str, start: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// The lines of a figure in src/doc/figures.md, with single blanks.
fn figure(id: &str) -> Vec<String> {
    let fold = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = fs::read_to_string("src/doc/figures.md").unwrap();
    let (_, section) = text.split_once(&format!("## {id}: ")).unwrap();
    let figure = section.split("```").nth(1).unwrap();
    figure.lines().skip(1).map(fold).collect() // the first is `text`
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
    // The listening socket has a use for a SYN, and none for anything else.
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
