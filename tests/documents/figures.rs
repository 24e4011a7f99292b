//! Checks that the two READMEs and the state transition diagrams agree.

use crate::claims::{ids_in, rows};
use crate::texts::{blocks, prose, read};

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];

/// The two pages that contain the state transition diagram.
pub const DIAGRAMS: [&str; 2] = ["src/doc/states.md", "README.zh-CN.md"];

/// Returns the state transition diagram from a page.
pub fn diagram(page: &str) -> String {
    let mut texts = blocks(page).into_iter().map(|block| block.text);
    let is_it = |text: &String| text.starts_with("flowchart");
    texts.find(is_it).unwrap()
}

/// Returns the arrows in order, each as an id and its states: `A1` and `CLOSED → LISTEN`.
pub fn arrows(diagram: &str) -> Vec<(String, String)> {
    let diagram = diagram.replace("CLOSED2", "CLOSED"); // CLOSED is drawn twice
    let arrow = |line: &str| {
        let (from, rest) = line.split_once("->|\"")?;
        let (label, to) = rest.split_once("\"| ")?;
        let (id, _) = label.split_once(' ')?;
        let from = from.trim_end_matches(['-', '.']).trim();
        Some((id.to_owned(), format!("{from} → {to}")))
    };
    diagram.lines().filter_map(arrow).collect()
}

/// linkStyle refers to arrows by position, so a new arrow could make the wrong arrows thick.
pub fn f9_the_thick_arrows_are_the_usual_paths_of_client_and_server() {
    for page in DIAGRAMS {
        let diagram = diagram(page);
        let arrows = arrows(&diagram);
        let thick = |style: &str| {
            let style = format!(" stroke-width:4px,{style}");
            let mut lines = diagram.lines().filter_map(|line| line.strip_suffix(&style));
            let positions = lines.next().unwrap().trim_start_matches("    linkStyle ");
            let id = |position: &str| arrows[position.parse::<usize>().unwrap()].0.clone();
            positions.split(',').map(id).collect::<Vec<_>>().join(" ")
        };
        let client = thick("stroke:#06c");
        assert_eq!(client, "A2 A6 A10 A13 A16 A20", "{page}");
        let server = thick("stroke:#b60,stroke-dasharray:9 6");
        assert_eq!(server, "A1 A3 A4 A12 A18 A19", "{page}");
    }
}

pub fn the_chinese_readme_has_the_same_commands_and_sessions_as_readme() {
    let [english, chinese] = READMES.map(|readme| {
        let typed = blocks(readme).into_iter();
        let typed = typed.filter(|block| ["sh", "console"].contains(&block.kind.as_str()));
        typed.map(|block| block.text).collect::<Vec<_>>()
    });
    assert_eq!(english, chinese);
}

pub fn readme_shows_the_plain_server_exactly_as_compiled() {
    let mut blocks = blocks(READMES[0]).into_iter();
    let server = blocks.find(|block| block.kind == "rust").unwrap();
    assert_eq!(server.text, read("src/doc/tcpserv01.rs"));
}

/// The rows that list a section's tests and figures begin with the section's name.
pub fn the_chinese_readme_has_each_claim_in_the_rows_of_its_section() {
    let readme = prose(READMES[1]).replace("**", "");
    let is_missing = |id: &str, section: &str| {
        let start = format!("| {section}");
        let of_section = readme.lines().filter(|line| line.starts_with(&start));
        !ids_in(&of_section.collect::<String>()).contains(id)
    };
    let mut rows = rows();
    rows.retain(|[id, section, _]| is_missing(id, section));
    let missing: Vec<_> = rows
        .iter()
        .map(|[id, section, _]| (&**id, &**section))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
