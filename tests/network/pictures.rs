//! The pictures of the whole session, in README.md and README.zh-CN.md: a session whose child is stopped
//! for a moment has the same segments, states and calls.

use crate::common::STATES;
use crate::common::trace::of;
use crate::figure::{Session, session};
use std::fs;

pub fn f2_f7_f8_f10_the_pictures_show_the_session_with_a_stopped_child() {
    let english = Picture::read("README.md", "sleeps", "bytes");
    let chinese = Picture::read("README.zh-CN.md", "休眠于", "字节");
    assert_eq!(english, chinese);

    let session = session(true);
    assert_eq!(english.segments, segments(&session));
    for (who, told) in [
        ("C", of(&session.events, "tcpcli", session.client)),
        ("P", of(&session.events, "tcpserv", session.parent)),
        ("K", of(&session.events, "tcpserv", session.child)),
    ] {
        let mut told = told.iter().filter_map(|(_, text)| call(text, "sleeps"));
        for (_, call) in english.calls.iter().filter(|(by, _)| by == who) {
            assert!(
                told.any(|told| told == *call),
                "{who}: {call}: {:#?}",
                session.events
            );
        }
    }
}

/// What a picture says.
#[derive(Debug, Default, PartialEq)]
struct Picture {
    segments: Vec<String>,
    /// Whose, and `accept` or `accept sleeps`.
    calls: Vec<(String, String)>,
}

impl Picture {
    fn read(file: &str, sleeps: &str, bytes: &str) -> Picture {
        let text = fs::read_to_string(file).unwrap();
        let (_, picture) = text.split_once("sequenceDiagram\n").unwrap();
        let (picture, _) = picture.split_once("```").unwrap();
        let mut said = Picture::default();
        let (mut client, mut server) = ("CLOSED", "CLOSED");
        for line in picture.lines().map(str::trim) {
            let (head, text) = line.split_once(": ").unwrap_or((line, ""));
            if let Some(who) = head.strip_prefix("Note over ") {
                let end = if who == "C" { &mut client } else { &mut server };
                for words in text.replace("<br/>", ", ").split(", ") {
                    if let Some(state) = STATES[1..].iter().find(|state| words.contains(*state)) {
                        *end = *state;
                    }
                    let call = call(words, sleeps);
                    said.calls.extend(call.map(|call| (who.to_owned(), call)));
                }
            } else if let Some((from, _)) = head.split_once("-->>") {
                let call = call(text, sleeps); // fork
                said.calls.extend(call.map(|call| (from.to_owned(), call)));
            } else if let Some((from, _)) = head.split_once("->>") {
                let text = text.replace(bytes, "bytes");
                said.segments
                    .push(segment(from == "C", &text, client, server));
            }
        }
        said
    }
}

/// A segment, and the states of both ends while it is on its way.
fn segment(is_clients: bool, what: &str, client: &str, server: &str) -> String {
    let from = if is_clients { "client" } else { "server" };
    format!("{from} sends {what}: client in {client}, server in {server}")
}

fn segments(session: &Session) -> Vec<String> {
    let each = session.segments.iter().map(|on_the_way| {
        let it = &on_the_way.segment;
        let what = match it.data.len() {
            0 => it.flags.replace("FIN ACK", "FIN"),
            bytes => format!("{bytes} bytes"),
        };
        let (client, server) = on_the_way.states;
        segment(it.to.port() == 9877, &what, client, server)
    });
    each.collect()
}

/// The call that is named in these words, and whether it sleeps.
fn call(words: &str, sleeps: &str) -> Option<String> {
    const CALLS: [&str; 14] = [
        "socket", "bind", "listen", "accept", "connect", "fork", "close", "Fgets", "Writen",
        "Readline", "Fputs", "read", "exit", "_exit",
    ];
    let mut names = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let name = names.find(|name| CALLS.contains(name) || *name == "waitpid")?;
    let sleeps = if words.contains(sleeps) {
        " sleeps"
    } else {
        ""
    };
    Some(format!("{name}{sleeps}"))
}
