//! What the texts name exists.

use std::fs;
use std::path::{Path, PathBuf};

const TEXTS: [&str; 4] = [
    "README.md",
    "tests/README.md",
    "src/doc/laboratory.md",
    "src/doc/own_server.md",
];

#[test]
fn the_links_headings_files_tests_and_ids_in_the_texts_exist() {
    let sources = [files("src"), files("tests")].concat();
    let code: String = sources.iter().map(read).collect();
    let claims = prose("tests/README.md");
    let mut missing = Vec::new();
    for text in TEXTS {
        let prose = prose(text);
        let mut named = Vec::new();
        for line in prose.lines() {
            let links = line.split("](").skip(1);
            let links = links.filter_map(|part| Some(part.split_once(')')?.0));
            named.extend(links.map(|link| (link, leads_somewhere(text, link))));
            let code_words = line.split('`').skip(1).step_by(2);
            named.extend(code_words.map(|word| (word, is_in(word, &sources, &code))));
            let words = line.split(|c: char| !c.is_alphanumeric());
            let ids = words.filter(|word| is_id(word));
            named.extend(ids.map(|id| (id, claims.contains(&format!("\n| {id} |")))));
        }
        let gone = named.into_iter().filter(|(_, exists)| !exists);
        missing.extend(gone.map(|(name, _)| format!("{text}: {name}")));
    }
    assert!(missing.is_empty(), "these do not exist: {missing:#?}");
}

fn read(file: impl AsRef<Path>) -> String {
    let file = file.as_ref();
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// All Rust files below a directory.
fn files(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let below = entries.flat_map(|entry| match entry.unwrap().path() {
        path if path.is_dir() => files(path),
        path => vec![path],
    });
    below
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// A text without its blocks of code.
fn prose(text: impl AsRef<Path>) -> String {
    read(text).split("\n```").step_by(2).collect()
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

/// Whether a file or a test with this name exists; true if it is no such name.
fn is_in(name: &str, sources: &[PathBuf], code: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.ends_with(".rs") {
        sources.iter().any(|file| file.ends_with(name))
    } else if let Some(start) = name
        .strip_suffix('…')
        .filter(|start| start.chars().all(is_name))
    {
        code.contains(&format!("fn {start}"))
    } else if name.chars().all(is_name) && name.matches('_').count() > 3 {
        code.contains(&format!("fn {name}("))
    } else {
        true
    }
}

/// `N1`, `W13`: a claim.
fn is_id(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    letter.chars().all(|c| c.is_ascii_uppercase()) && number.parse().is_ok_and(|n: u8| n < 100)
}
