//! What the programs tell with --trace, taken apart.

use super::*;

/// `1764044103.743382 tcpcli[4711]<tab>ESTABLISHED Writen(3) = 6`
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Since 1970.
    pub time: Duration,
    /// `tcpcli[4711]`
    pub process: String,
    /// Empty where the line is about no socket.
    pub state: String,
    /// `Writen(3) = 6`
    pub text: String,
}

/// The events among these lines. The messages of a program are none.
pub fn events<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Vec<Event> {
    let lines = lines.into_iter();
    lines.filter_map(|line| event(line.as_ref())).collect()
}

fn event(line: &str) -> Option<Event> {
    let (head, tail) = line.split_once('\t')?;
    let (time, process) = head.split_once(' ').expect(line);
    let (seconds, micros) = time.split_once('.').expect(line);
    assert_eq!((seconds.len(), micros.len()), (10, 6), "{line}");
    let (state, text) = tail.split_at(12);
    let seconds = Duration::from_secs(seconds.parse().expect(line));
    Some(Event {
        time: seconds + Duration::from_micros(micros.parse().expect(line)),
        process: process.to_owned(),
        state: state.trim_end().to_owned(),
        text: text.to_owned(),
    })
}

/// The events of one process, as pairs of state and text.
pub fn of(events: &[Event], program: &str, pid: Pid) -> Vec<(String, String)> {
    let process = format!("{program}[{pid}]");
    let its = events.iter().filter(|event| event.process == process);
    its.map(|event| (event.state.clone(), event.text.clone()))
        .collect()
}
