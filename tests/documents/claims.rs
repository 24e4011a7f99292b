//! The claims in tests/README.md: each has a test, and each test with an id has a claim. Those
//! of the arrows are the arrows of the state transition diagram.

use crate::figures::{DIAGRAMS, arrows, diagram};
use crate::texts::{blocks, prose, read};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CLAIMS: &str = "tests/README.md";
/// Its examples are tests: `cargo test` runs them, and their headings have the ids.
const EXAMPLES: &str = "src/doc/without_the_line.md";

/// The names of the tests with the attribute, and of those in the lists of targets that have no harness.
pub fn tests() -> Vec<String> {
    const LIST: &str = concat!("tests", "![");
    let mut tests = Vec::new();
    for file in files("tests") {
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

/// All Rust files below a directory.
pub fn files(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let below = entries.flat_map(|entry| match entry.unwrap().path() {
        path if path.is_dir() => files(path),
        path => vec![path],
    });
    below
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// `N1`, `W13`: a letter and a number.
pub fn is_id(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    letter.chars().all(|c| c.is_ascii_uppercase()) && is_number && [1, 2].contains(&number.len())
}

/// The ids of a test, which its name begins with: `w6_a12_a16_four_segments`.
pub fn ids(test: &str) -> Vec<String> {
    let words = test.split('_').map(str::to_uppercase);
    let is_lower = test.starts_with(|c: char| c.is_ascii_lowercase());
    words.take_while(|word| is_lower && is_id(word)).collect()
}

/// The rows: `| id | section | claim |`
fn rows() -> Vec<(String, String)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let is_row = cells.len() > 4 && is_id(cells[1]);
        is_row.then(|| (cells[1].to_owned(), cells[3].to_owned()))
    };
    prose(CLAIMS).lines().filter_map(row).collect()
}

/// The ids that have a claim.
pub fn claimed() -> BTreeSet<String> {
    rows().into_iter().map(|(id, _)| id).collect()
}

pub fn each_claim_has_a_test_and_each_test_with_an_id_has_a_claim() {
    let mut tested: BTreeSet<_> = tests().iter().flat_map(|test| ids(test)).collect();
    for example in blocks(EXAMPLES) {
        let words = example.section.split(|c: char| !c.is_alphanumeric());
        tested.extend(words.filter(|word| is_id(word)).map(str::to_owned));
    }
    let claimed = claimed();
    assert_eq!(rows().len(), claimed.len(), "each id has one row");
    let without_test: Vec<_> = claimed.difference(&tested).collect();
    assert!(without_test.is_empty(), "no test: {without_test:?}");
    let without_claim: Vec<_> = tested.difference(&claimed).collect();
    assert!(without_claim.is_empty(), "no claim: {without_claim:?}");
}

pub fn the_claims_of_the_arrows_are_the_arrows_of_the_diagrams() {
    let rows = rows().into_iter().filter(|(id, _)| id.starts_with('A'));
    let from_and_to = |claim: &str| claim.split('.').next().unwrap_or_default().to_owned();
    let claimed: BTreeSet<_> = rows.map(|(id, claim)| (id, from_and_to(&claim))).collect();
    for page in DIAGRAMS {
        let drawn: BTreeSet<_> = arrows(&diagram(page)).into_iter().collect();
        assert_eq!(drawn, claimed, "{page}");
    }
}
