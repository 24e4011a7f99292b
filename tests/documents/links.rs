//! What the texts name exists: links, headings, files, tests, ids.

use crate::claims::{Test, claimed, files, ids, is_id, tests};
use crate::texts::{TEXTS, blocks, prose, read};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub fn what_the_texts_name_exists() {
    let tests = tests();
    let claimed = claimed();
    let files = ["src", "tests", "benches"].map(files).concat();
    let code: String = files.iter().map(read).collect();
    let mut missing = Vec::new();
    for text in TEXTS {
        let code = blocks(text)
            .iter()
            .fold(code.clone(), |code, block| code + &block.text());
        let names: HashSet<_> = code.split(|c| !is_in_name(c)).collect();
        let mut named = Vec::new();
        for line in prose(text).lines() {
            let links = line.split("](").skip(1);
            let links = links.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
            named.extend(links.map(|link| (leads_somewhere(text, &link), link)));
            let parts: Vec<_> = line.split('`').collect();
            for n in (1..parts.len()).step_by(2) {
                let word = parts[n];
                let exists = if word.ends_with(".rs") {
                    files.iter().any(|file| file.ends_with(word))
                } else if is_test_name(word) {
                    let file = parts.get(n + 1).filter(|part| **part == " in ");
                    let file = file.map_or("", |_| parts[n + 2]);
                    tests.iter().any(|test| is_named(test, word, file))
                } else {
                    !word.contains('_') || !word.chars().all(is_in_name) || names.contains(word)
                };
                named.push((exists, word.to_owned()));
            }
            let words = line.split(|c: char| !c.is_alphanumeric());
            let ids = words.filter(|word| is_id(word));
            named.extend(ids.map(|id| (claimed.contains(id), id.to_owned())));
        }
        named.retain(|(exists, _)| !exists);
        missing.extend(named.into_iter().map(|(_, name)| format!("{text}: {name}")));
    }
    assert!(missing.is_empty(), "these do not exist: {missing:#?}");
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

/// Whether a link leads to a file, and to a heading in it.
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
    path.exists() && (heading.is_empty() || has_heading())
}

/// How a link names a heading, on GitHub and in `cargo doc`.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let title = title.replace(|c: char| !c.is_alphanumeric() && !"-_ ".contains(c), "");
    Some(title.to_lowercase().replace(' ', "-"))
}
