//! Parses console blocks, and matches them against a terminal's output. The format is explained
//! under "How to read an experiment" in src/doc/laboratory.md.

use crate::texts::Block;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The numbers in an experiment, and what each stands for on this machine.
pub type Numbers = HashMap<String, String>;

/// Input for a terminal, and the output that follows.
pub struct Step {
    pub terminal: usize,
    pub typed: Typed,
    pub shown: Vec<String>,
    /// Whether the prompt appears before the next input at this terminal.
    pub ends: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shown = self.shown.join("\n");
        write!(f, "terminal {} is to show\n{shown}", self.terminal)
    }
}

#[derive(PartialEq)]
pub enum Typed {
    /// `1$ command`
    Command(String),
    /// `1> text`, `1> ^D`
    Text(String),
    /// `1>`
    Nothing,
}

/// Parses the steps in these blocks.
pub fn steps(blocks: &[Block]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.iter().flat_map(|block| block.text.lines()) {
        let Some((terminal, typed)) = typed(line) else {
            steps.last_mut().unwrap().shown.push(line.to_owned());
            continue;
        };
        let before = steps.iter_mut().rfind(|step| step.terminal == terminal);
        if let Some(before) = before {
            before.ends = matches!(typed, Typed::Command(_));
        }
        steps.push(Step {
            terminal,
            typed,
            shown: Vec::new(),
            ends: true,
        });
    }
    steps
}

fn typed(line: &str) -> Option<(usize, Typed)> {
    let (terminal, rest) = line.split_at_checked(1)?;
    let typed = match rest.split_at_checked(2) {
        Some(("$ ", command)) => Typed::Command(command.to_owned()),
        Some(("> ", text)) => Typed::Text(text.to_owned()),
        _ if rest == ">" => Typed::Nothing,
        _ => return None,
    };
    Some((terminal.parse().ok()?, typed))
}

impl Step {
    /// Whether the step changes nothing and can be repeated.
    pub fn only_looks(&self) -> bool {
        let looks = |command: &str| command.starts_with("look") || command.starts_with("ps ");
        matches!(&self.typed, Typed::Command(command) if looks(command))
    }

    /// Whether `shown` is the expected output. If so, records the numbers in `shown`.
    pub fn is_shown(&self, shown: &str, numbers: &mut Numbers) -> bool {
        let expected: Vec<_> = self.shown.iter().map(|line| words(line)).collect();
        let shown: Vec<_> = shown.lines().map(words).collect();
        let shown: Vec<_> = shown.into_iter().filter(|line| !line.is_empty()).collect();
        // Lines from ss, or from programs that are already running, may be in any order.
        let any_order = self.only_looks() || self.typed == Typed::Nothing;
        let learned = lines_match(&expected, &shown, any_order, numbers);
        // Different processes in the text must also differ here.
        let pids = self
            .shown
            .iter()
            .flat_map(|line| line.split("pid=").skip(1));
        let pids: HashSet<_> = pids.map(|rest| words(rest)[0]).collect();
        let learned = learned.filter(|learned| {
            let here = pids.iter().filter_map(|pid| learned.get(*pid));
            here.collect::<HashSet<_>>().len() == pids.len()
        });
        let is_shown = learned.is_some();
        numbers.extend(learned.unwrap_or_default());
        is_shown
    }
}

/// Replaces the numbers in a command with this machine's numbers.
pub fn with_numbers(command: &str, numbers: &Numbers) -> String {
    let of_this_machine = |word| numbers.get(word).map_or(word, String::as_str);
    words(command).into_iter().map(of_this_machine).collect()
}

/// Splits a line into numbers, times and single characters. A run of white space becomes one blank.
fn words(line: &str) -> Vec<&str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            words.push(" ");
            rest = rest.trim_start();
            continue;
        }
        let n = digits(rest);
        let fraction = rest[n..].strip_prefix('.').map_or(0, digits);
        let is_time = (n, fraction) == (10, 6);
        let length = if is_time { 17 } else { n.max(first.len_utf8()) };
        let (word, others) = rest.split_at(length);
        words.push(word);
        rest = others;
    }
    words
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_time(word: &str) -> bool {
    word.len() == 17
}

/// If `shown` matches the expected lines, returns the numbers, including the new ones.
fn lines_match(
    expected: &[Vec<&str>],
    shown: &[Vec<&str>],
    any_order: bool,
    numbers: &Numbers,
) -> Option<Numbers> {
    let Some((first, others)) = shown.split_first() else {
        let over = expected.iter().all(|line| may_be_missing(line));
        return over.then(|| numbers.clone());
    };
    let is_ellipsis = |n: &usize| expected[*n] == ["…"];
    let (last, lines): (Vec<_>, Vec<_>) = (0..expected.len()).partition(is_ellipsis);
    lines.into_iter().chain(last).find_map(|n| {
        let line = &expected[n];
        let (earlier, missing): (Vec<_>, Vec<_>) = expected[..n]
            .iter()
            .cloned()
            .partition(|earlier| may_swap(earlier, line, any_order));
        let mut learned = numbers.clone();
        let is_it = missing.iter().all(|line| may_be_missing(line))
            && line_matches(without_brackets(line), first, &mut learned);
        let later = &expected[if is_ellipsis(&n) { n } else { n + 1 }..];
        let left = [&earlier, later].concat();
        is_it.then(|| lines_match(&left, others, any_order, &learned))?
    })
}

fn may_be_missing(line: &[&str]) -> bool {
    matches!(line, ["…"] | ["(", .., ")"])
}

fn without_brackets<'a, 'b>(line: &'a [&'b str]) -> &'a [&'b str] {
    match line {
        ["(", line @ .., ")"] => line,
        _ => line,
    }
}

fn may_swap(one: &[&str], other: &[&str], any_order: bool) -> bool {
    // A time is followed by `tcpserv[1234]`, or by `IP` in the output of tcpdump.
    let program = |line: &[&str]| {
        let line = without_brackets(line);
        let program = line.split(|word| *word == " ").nth(1)?;
        (is_time(line[0]) || line[0] == "…").then(|| program.concat())
    };
    match (program(one), program(other)) {
        (Some(one), Some(other)) => one != other,
        _ => any_order,
    }
}

/// `numbers` is valid only if the function returns true.
fn line_matches(expected: &[&str], shown: &[&str], numbers: &mut Numbers) -> bool {
    match (expected, shown) {
        ([], _) => shown.is_empty(),
        (["…", others @ ..], _) => (0..=shown.len()).any(|n| {
            let mut learned = numbers.clone();
            let matches = line_matches(others, &shown[n..], &mut learned);
            if matches {
                *numbers = learned;
            }
            matches
        }),
        (_, []) => false,
        ([word, others @ ..], [first, rest @ ..]) => {
            stands_for(word, first, numbers) && line_matches(others, rest, numbers)
        }
    }
}

fn stands_for(word: &str, shown: &str, numbers: &mut Numbers) -> bool {
    if is_time(word) {
        is_time(shown)
    } else if is_number(word) && word.len() > 3 && !["9877", "1024", "4096"].contains(&word) {
        let number = numbers.entry(word.to_owned());
        is_number(shown) && number.or_insert(shown.to_owned()) == shown
    } else {
        word == shown
    }
}

/// Each case has input, the text's output, output that matches, and output that does not. A slash
/// ends a line.
const CASES: &str = "
    Short numbers, 9877, 1024 and 4096 stand for themselves; white space does not count.
    1$ date | CLOSE-WAIT 1 :9877 | CLOSE-WAIT   1 :9877 | CLOSE-WAIT 7 :9877
    1$ date | CLOSE-WAIT 1 :9877 | CLOSE-WAIT 1 :9877 | CLOSE-WAIT 1 :9878
    1$ date | fd=4 | fd=4 | fd=41
    1$ date | backlog 1024 | backlog 1024 | backlog 1025
    A longer number stands for any number, but always the same one.
    1$ date | 6231 in 6230/6231 in 6232 | 5 in 4/5 in 12345 | 5 in 4/6 in 12345
    1$ date | 6231 in 6230 | 5 in 4 | 5 in x
    1$ look | pid=6231/pid=6232 | pid=77/pid=78 | pid=77/pid=77
    1$ date | 1764044103.743382 a | 1764044104.000000 a | 17640441 a
    The order counts, except for the lines of ss and of several programs.
    1$ date | one/two | one/two | two/one
    1$ look | one/two | two/one | two/two
    1> | one/two | two/one | two
    1$ date | IP a/IP b | IP a/IP b | IP b/IP a
    1> | 1764044103.743382 IP a/1764044103.743383 tcpcli[1] b | 1764044104.000000 tcpcli[1] b/1764044104.000000 IP a | b
    1> | 1764044103.743382 IP a/1764044103.743383 IP b | 1764044104.000000 IP a/1764044104.000000 IP b | 1764044104.000000 IP b/1764044104.000000 IP a
    An ellipsis stands for any text or any lines; a line in brackets is optional.
    1$ date | a…z | a to z | a to y
    1$ date | a/…/z | a/b/c/z | a/b
    1$ date | a/…/z | a/z | z
    1$ date | a/(b)/c | a/b/c | a/d/c
    1$ date | a/(b)/c | a/c | a/c/b
    1$ date | a | a | a/b";

pub fn a_terminal_must_show_what_the_text_shows_except_where_they_may_differ() {
    let cases = CASES.lines().filter(|line| line.contains('|'));
    for case in cases {
        let cells: Vec<_> = case
            .split('|')
            .map(|cell| cell.trim().replace('/', "\n"))
            .collect();
        let block = Block {
            text: format!("{}\n{}", cells[0], cells[1]),
            ..Block::default()
        };
        let step = steps(&[block]).remove(0);
        let is_shown = |shown: &str| step.is_shown(shown, &mut Numbers::new());
        assert!(is_shown(&cells[2]) && !is_shown(&cells[3]), "{case}");
    }
}
