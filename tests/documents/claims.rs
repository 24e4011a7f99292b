//! Checks that each claim in tests/README.md has a test, that each test with an id has a claim, and
//! that the claims about arrows match the state transition diagram.

use crate::figures::{DIAGRAMS, arrows, diagram};
use crate::texts::{TEXTS, blocks, prose, read};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CLAIMS: &str = "tests/README.md";
/// Each module in this file is a test; `cargo test --doc l1_` runs one of them.
const EXAMPLES: &str = "src/doc/mod.rs";

/// Returns the names of all tests: functions with `#[test]`, functions listed in targets without
/// a harness, and modules with an example.
pub fn tests() -> Vec<String> {
    const LIST: &str = concat!("tests", "![");
    let examples = read(EXAMPLES);
    let modules = examples.split("\n    pub mod ").skip(1);
    let modules = modules.filter_map(|rest| rest.split_once(' '));
    let mut tests: Vec<_> = modules.map(|(name, _)| name.to_owned()).collect();
    for file in files("tests", "rs") {
        let code = read(&file);
        let marked = code.split("\n#[test]\n").skip(1);
        let marked = marked.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        let listed = code.split(LIST).skip(1);
        let listed = listed.filter_map(|rest| rest.split_once(']'));
        let listed = listed.flat_map(|(list, _)| list.split(','));
        let names = marked.map(|(name, _)| name).chain(listed);
        tests.extend(names.map(|name| name.trim().to_owned()));
    }
    tests
}

/// Returns all files with this extension below a directory.
pub fn files(directory: impl AsRef<Path>, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let below = entries.flat_map(|entry| match entry.unwrap().path() {
        path if path.is_dir() => files(path, extension),
        path => vec![path],
    });
    below
        .filter(|path| path.extension().is_some_and(|of_path| of_path == extension))
        .collect()
}

/// Whether a word is an id, such as `N1` or `W13`.
pub fn is_id(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    letter.chars().all(|c| c.is_ascii_uppercase()) && is_number && [1, 2].contains(&number.len())
}

/// Returns the ids at the beginning of a test name such as `w6_a12_a16_four_segments`.
pub fn ids(test: &str) -> Vec<String> {
    let words = test.split('_').map(str::to_uppercase);
    let is_lower = test.starts_with(|c: char| c.is_ascii_lowercase());
    words.take_while(|word| is_lower && is_id(word)).collect()
}

/// Returns the ids in a text, including every id in a range such as `N1–N6`.
pub fn ids_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '–');
    let ends = words.map(|word| word.split_once('–').unwrap_or((word, word)));
    let mut ids = BTreeSet::new();
    for (first, last) in ends.filter(|(first, last)| is_id(first) && is_id(last)) {
        let (letter, from) = first.split_at(1);
        let to = last
            .strip_prefix(letter)
            .unwrap_or_else(|| panic!("{first}–{last}"));
        let [from, to] = [from, to].map(|number| number.parse::<u8>().unwrap());
        ids.extend((from..=to).map(|number| format!("{letter}{number}")));
    }
    ids
}

/// Returns the rows of the list: id, section and claim.
pub fn rows() -> Vec<[String; 3]> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let is_row = cells.len() > 4 && is_id(cells[1]);
        is_row.then(|| [1, 2, 3].map(|cell| cells[cell].to_owned()))
    };
    prose(CLAIMS).lines().filter_map(row).collect()
}

/// Returns the ids that have a claim.
pub fn claimed() -> BTreeSet<String> {
    rows().into_iter().map(|[id, ..]| id).collect()
}

pub fn each_claim_has_a_test_and_each_test_with_an_id_has_a_claim() {
    let tested: BTreeSet<_> = tests().iter().flat_map(|test| ids(test)).collect();
    let claimed = claimed();
    assert_eq!(rows().len(), claimed.len(), "an id has two rows");
    let without_test: Vec<_> = claimed.difference(&tested).collect();
    assert!(without_test.is_empty(), "untested: {without_test:?}");
    let without_claim: Vec<_> = tested.difference(&claimed).collect();
    assert!(without_claim.is_empty(), "unlisted: {without_claim:?}");
}

pub fn the_claims_about_arrows_match_the_arrows_in_the_diagrams() {
    let rows = rows().into_iter().filter(|[id, ..]| id.starts_with('A'));
    let from_and_to = |claim: &str| claim.split('.').next().unwrap_or_default().to_owned();
    let arrow = |[id, _, claim]: [String; 3]| (id, from_and_to(&claim));
    let claimed: BTreeSet<_> = rows.map(arrow).collect();
    for page in DIAGRAMS {
        let drawn: BTreeSet<_> = arrows(&diagram(page)).into_iter().collect();
        assert_eq!(drawn, claimed, "{page}");
    }
}

/// rustdoc hides lines that begin with `# `, so readers could not copy a program with such lines.
pub fn each_example_of_a_missing_line_is_shown_in_full() {
    let ids = TEXTS
        .iter()
        .filter(|text| text.starts_with("src/doc/without_the_line/"));
    for text in ids {
        let blocks = blocks(text);
        let [example] = &blocks[..] else {
            panic!("{text}: {} blocks", blocks.len());
        };
        assert!(example.text.contains("\nfn main() "), "{text}");
        let is_hidden = |line: &str| line.starts_with('#');
        assert!(!example.text.lines().any(is_hidden), "{text}");
    }
}
