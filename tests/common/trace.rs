//! Parses what the programs print with --trace.

use super::*;

/// `1764044103.743382 tcpcli[4711]<tab>ESTABLISHED Writen(3) = 6`
#[derive(Clone, Debug)]
pub struct Event {
    /// The time since 1970.
    pub time: Duration,
    pub pid: Pid,
    /// `ESTABLISHED: Writen(3) = 6`, or `: Fgets(stdin) = 6` for a call without a socket.
    pub what: String,
}

/// The events in these lines, without the programs' messages.
pub fn events<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Vec<Event> {
    let lines = lines.into_iter();
    lines.filter_map(|line| event(line.as_ref())).collect()
}

fn event(line: &str) -> Option<Event> {
    let (head, tail) = line.split_once('\t')?;
    let (time, process) = head.split_once(' ').expect(line);
    let (seconds, micros) = time.split_once('.').expect(line);
    assert_eq!((seconds.len(), micros.len()), (10, 6), "{line}");
    let (_, pid) = process.split_once('[').expect(line);
    let (state, call) = tail.split_at(12);
    let seconds = Duration::from_secs(seconds.parse().expect(line));
    Some(Event {
        time: seconds + Duration::from_micros(micros.parse().expect(line)),
        pid: Pid::from_raw(pid.trim_end_matches(']').parse().expect(line)),
        what: format!("{}: {call}", state.trim_end()),
    })
}

/// The events from one process.
pub fn told<S: AsRef<str>>(lines: impl IntoIterator<Item = S>, pid: Pid) -> Vec<String> {
    let its = events(lines).into_iter().filter(|event| event.pid == pid);
    its.map(|event| event.what).collect()
}

/// Whether a text matches the pattern, in which `*` stands for any text.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.is_empty() || pattern.ends_with('*')
}

/// The index of the first line that matches the pattern.
#[track_caller]
pub fn place(told: &[String], pattern: &str) -> usize {
    let place = told.iter().position(|what| is_like(what, pattern));
    place.unwrap_or_else(|| panic!("no {pattern:?} in {told:#?}"))
}
