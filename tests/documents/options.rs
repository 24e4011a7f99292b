//! Checks that each option named in a text exists, and that README names each option.

use crate::common::{Command, TCPCLI, TCPSERV};
use crate::links::lines;
use crate::texts::read;
use std::collections::HashSet;

/// Returns the names of each option, such as `-p` and `--port`, from `--help`.
fn options(program: &str) -> Vec<Vec<String>> {
    let help = Command::new(program).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let lines = help.lines().map(str::trim);
    let names = |line: &str| {
        let (names, _) = line.split_once("  ").unwrap_or((line, ""));
        options_in(names).map(str::to_owned).collect()
    };
    lines
        .filter(|line| line.starts_with('-'))
        .map(names)
        .collect()
}

/// Returns the words that are options, such as `-p` and `--port`.
fn options_in(words: &str) -> impl Iterator<Item = &str> {
    let words = words.split([' ', ',', '=']);
    words.filter(|word| {
        let name = word.trim_start_matches('-');
        [1, 2].contains(&(word.len() - name.len())) && name.starts_with(char::is_alphabetic)
    })
}

pub fn each_option_in_the_texts_exists() {
    let [tcpserv, tcpcli] = [TCPSERV, TCPCLI].map(|program| options(program).concat());
    let lines = lines();
    let spans = lines.iter().flat_map(|(text, line)| {
        let spans = line.split('`').skip(1).step_by(2);
        spans.map(move |span| (text, span))
    });
    let ours = |span: &str| span.starts_with('-') || span.starts_with("tcp");
    // Text that contains `cargo test n3_ -- --nocapture` may also mention `--nocapture`.
    let others = spans.clone().filter(|(_, span)| !ours(span));
    let others: HashSet<_> = others.flat_map(|(_, span)| options_in(span)).collect();
    for (text, span) in spans.filter(|(_, span)| ours(span)) {
        let program = span.split(' ').next().unwrap();
        for option in options_in(span) {
            let is_of = |options: &[String]| options.iter().any(|name| name == option);
            let exists = match program {
                "tcpserv" => is_of(&tcpserv),
                "tcpcli" => is_of(&tcpcli),
                _ => is_of(&tcpserv) || is_of(&tcpcli) || others.contains(option),
            };
            assert!(exists, "{text}: {span}: {option}");
        }
    }
}

/// The exception is `--version`, which clap adds to every program.
pub fn readme_names_each_option() {
    let readme = read("README.md");
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words: HashSet<_> = readme.split(|c| !is_in_name(c)).collect();
    let is_named = |name: &String| name == "--version" || words.contains(name.as_str());
    for names in [TCPSERV, TCPCLI].map(options).concat() {
        assert!(names.iter().any(is_named), "{names:?}");
    }
}
