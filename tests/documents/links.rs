//! Checks that the links, headings, files, tests and ids in the texts exist.

use crate::claims::{claimed, files, ids, ids_in, tests};
use crate::texts::{TEXTS, blocks, prose, read};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Returns each line outside code blocks, with the text that contains it.
pub fn lines() -> Vec<(&'static str, String)> {
    let lines = |text| {
        let prose = prose(text);
        let lines: Vec<_> = prose.lines().map(str::to_owned).collect();
        lines.into_iter().map(move |line| (text, line))
    };
    TEXTS.into_iter().flat_map(lines).collect()
}

/// A link is `[text](file#heading)`, or `[text][label]` with a line `[label]: file#heading`.
pub fn each_link_leads_to_an_existing_file_and_heading() {
    for text in TEXTS {
        let prose = prose(text);
        let starts = prose.lines().filter_map(|line| line.strip_prefix('['));
        let definitions: HashMap<_, _> = starts.filter_map(|line| line.split_once("]: ")).collect();
        let between = |start, end| {
            let rests = prose.split(start).skip(1);
            rests.filter_map(move |rest| Some(rest.split_once(end)?.0))
        };
        for label in between("][", ']') {
            assert!(definitions.contains_key(label), "{text}: [{label}]");
        }
        for link in between("](", ')').chain(definitions.into_values()) {
            assert!(leads_somewhere(text, link), "{text}: {link}");
        }
    }
}

/// An id has a letter from the list, and at most as many digits as the list uses with this letter.
/// For instance, `C99` is not an id, because C ids have one digit.
pub fn each_id_in_the_texts_has_a_claim() {
    let claimed = claimed();
    for (text, line) in lines() {
        for id in ids_in(&line) {
            let is_like = |known: &String| known[..1] == id[..1] && known.len() >= id.len();
            let is_known = claimed.contains(&id);
            assert!(is_known || !claimed.iter().any(is_like), "{text}: {id}");
        }
    }
}

pub fn each_name_in_the_texts_exists_as_a_file_a_test_or_in_the_code() {
    let tests = tests();
    let files = ["src", "tests", "benches"]
        .map(|directory| files(directory, "rs"))
        .concat();
    let mut code: String = files.iter().map(read).collect();
    let blocks = TEXTS.into_iter().flat_map(blocks);
    code.extend(blocks.map(|block| block.text));
    let names: HashSet<_> = code.split(|c| !is_in_name(c)).collect();
    for (text, line) in lines() {
        for word in line.split('`').skip(1).step_by(2) {
            // Only test names begin with an id, have five words or more, or end with `…`.
            let start = word.trim_end_matches('…');
            let is_long = start.len() < word.len() || start.matches('_').count() > 3;
            let exists = if let Some(command) = word.strip_prefix("cargo test ") {
                let mut names = command.split(' ').filter(|name| !ids(name).is_empty());
                names.all(|name| tests.iter().any(|test| test.contains(name)))
            } else if word.ends_with(".rs") {
                files.iter().any(|file| file.ends_with(word))
            } else if !start.contains('_') || !start.chars().all(is_in_name) {
                true
            } else if is_long || !ids(start).is_empty() {
                let is_start = word.ends_with(['…', '_']);
                let is_it = |test: &String| test == word || is_start && test.starts_with(start);
                tests.iter().any(is_it)
            } else {
                names.contains(word)
            };
            assert!(exists, "{text}: {word}");
        }
    }
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// Whether a link leads to an existing file and heading.
fn leads_somewhere(text: &str, link: &str) -> bool {
    if link.starts_with("https:") {
        return true; // the test does not contact other hosts
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let path = match path {
        "" => PathBuf::from(text),
        _ => Path::new(text).with_file_name(path),
    };
    let is_it = |line: &str| anchor(line).as_deref() == Some(heading);
    let has_heading = || prose(&path).lines().any(is_it);
    path.exists() && (heading.is_empty() || has_heading())
}

/// Returns the anchor that GitHub and `cargo doc` generate for a heading.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let title = title.replace(|c: char| !c.is_alphanumeric() && !"-_ ".contains(c), "");
    Some(title.to_lowercase().replace(' ', "-"))
}
