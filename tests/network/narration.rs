//! What the programs tell with --trace, taken apart.

use crate::common::STATES;
use std::time::Duration;

/// `14:03:07.001234 tcpcli[4711]  ESTABLISHED Writen(3) = 6`
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

/// The events among these lines. Their times are UTC, on this day since 1970.
pub fn events(lines: &[String], day: u64) -> Vec<Event> {
    lines.iter().filter_map(|line| event(line, day)).collect()
}

fn event(line: &str, day: u64) -> Option<Event> {
    let (time, rest) = line.split_once(' ')?;
    let mut seconds = 0.0;
    for number in time.split(':') {
        seconds = seconds * 60.0 + number.parse::<f64>().ok()?;
    }
    let (process, rest) = rest.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_state = STATES[1..].contains(&first);
    let (state, text) = if is_state { (first, after) } else { ("", rest) };
    Some(Event {
        time: Duration::from_secs(day * 86_400) + Duration::from_secs_f64(seconds),
        process: process.to_owned(),
        state: state.to_owned(),
        text: text.trim_start().to_owned(),
    })
}
