//! What the texts name exists: links, headings, files, tests, ids.

use crate::claims::{Test, claimed, files, ids, is_id, tests};
use crate::texts::{TEXTS, blocks, prose, read};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Each line outside of blocks, and its text.
fn lines() -> Vec<(&'static str, String)> {
    let lines = |text| {
        let prose = prose(text);
        let lines: Vec<_> = prose.lines().map(str::to_owned).collect();
        lines.into_iter().map(move |line| (text, line))
    };
    TEXTS.into_iter().flat_map(lines).collect()
}

pub fn each_link_leads_to_a_file_and_to_a_heading_in_it() {
    for (text, line) in lines() {
        let links = line.split("](").skip(1);
        for link in links.filter_map(|rest| Some(rest.split_once(')')?.0)) {
            assert!(leads_somewhere(text, link), "{text}: {link}");
        }
    }
}

pub fn each_id_in_the_texts_has_a_claim() {
    let claimed = claimed();
    for (text, line) in lines() {
        let words = line.split(|c: char| !c.is_alphanumeric());
        for id in words.filter(|word| is_id(word)) {
            assert!(claimed.contains(id), "{text}: {id}");
        }
    }
}

pub fn each_name_in_the_texts_is_that_of_a_file_a_test_or_something_in_the_code() {
    let tests = tests();
    let files = ["src", "tests", "benches"].map(files).concat();
    let mut code: String = files.iter().map(read).collect();
    let blocks = TEXTS.into_iter().flat_map(blocks);
    code.extend(blocks.map(|block| block.text()));
    let names: HashSet<_> = code.split(|c| !is_in_name(c)).collect();
    for (text, line) in lines() {
        let parts: Vec<_> = line.split('`').collect();
        for n in (1..parts.len()).step_by(2) {
            let word = parts[n];
            let exists = if word.ends_with(".rs") {
                files.iter().any(|file| file.ends_with(word))
            } else if is_test_name(word) {
                // `w9_…` in `network`
                let in_file = parts.get(n + 1) == Some(&" in ");
                let file = if in_file { parts[n + 2] } else { "" };
                tests.iter().any(|test| is_named(test, word, file))
            } else {
                !word.contains('_') || !word.chars().all(is_in_name) || names.contains(word)
            };
            assert!(exists, "{text}: {word}");
        }
    }
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// `w3_`, `a_reset_inside_…`, `each_claim_has_a_test`: no other names begin with an id, or
/// are so long.
fn is_test_name(word: &str) -> bool {
    let start = word.strip_suffix('…').unwrap_or(word);
    let is_long = start.len() < word.len() || start.matches('_').count() > 3;
    start.chars().all(is_in_name) && (is_long || !ids(start).is_empty())
}

/// Whether a text means this test, if it says that it is in a file or in a directory.
fn is_named(test: &Test, word: &str, file: &str) -> bool {
    let is_it = match word.strip_suffix('…') {
        Some(start) => test.name.starts_with(start),
        None if word.ends_with('_') => test.name.starts_with(word),
        None => test.name == word,
    };
    is_it && (file.is_empty() || test.file.starts_with(Path::new("tests").join(file)))
}

/// Whether a link leads to a file, and to a heading in it. If it is a text, it is one of those
/// that these tests read.
fn leads_somewhere(text: &str, link: &str) -> bool {
    if link.starts_with("https:") {
        return true; // the test asks no other host
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let path = match path {
        "" => PathBuf::from(text),
        _ => Path::new(text).with_file_name(path),
    };
    let has_heading = || {
        prose(&path)
            .lines()
            .any(|line| anchor(line) == Some(heading.to_owned()))
    };
    let is_read = || {
        let same = |text: &&str| Path::new(text).canonicalize().ok() == path.canonicalize().ok();
        TEXTS.iter().any(same)
    };
    let is_text = path.extension().is_some_and(|extension| extension == "md");
    path.exists() && (!is_text || is_read()) && (heading.is_empty() || has_heading())
}

/// How a link names a heading, on GitHub and in `cargo doc`.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let title = title.replace(|c: char| !c.is_alphanumeric() && !"-_ ".contains(c), "");
    Some(title.to_lowercase().replace(' ', "-"))
}
