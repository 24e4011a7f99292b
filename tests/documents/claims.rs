//! TCP状态转换图: README's diagram has the arrows of this table, and each arrow has a test.

use std::fs;

/// From, to, and the id, which is in the name of each test that goes along the arrow.
const ARROWS: [(&str, &str, &str); 21] = [
    ("CLOSED", "LISTEN", "A1"),
    ("CLOSED", "SYN_SENT", "A2"),
    ("LISTEN", "SYN_RCVD", "A3"),
    ("SYN_RCVD", "ESTABLISHED", "A4"),
    ("SYN_RCVD", "LISTEN", "A5"),
    ("SYN_SENT", "ESTABLISHED", "A6"),
    ("SYN_SENT", "SYN_RCVD", "A7"),
    ("SYN_SENT", "CLOSED", "A8"),
    ("LISTEN", "CLOSED", "A9"),
    ("ESTABLISHED", "FIN_WAIT_1", "A10"),
    ("SYN_RCVD", "FIN_WAIT_1", "A11"),
    ("ESTABLISHED", "CLOSE_WAIT", "A12"),
    ("FIN_WAIT_1", "FIN_WAIT_2", "A13"),
    ("FIN_WAIT_1", "TIME_WAIT", "A14"),
    ("FIN_WAIT_1", "CLOSING", "A15"),
    ("FIN_WAIT_2", "TIME_WAIT", "A16"),
    ("CLOSING", "TIME_WAIT", "A17"),
    ("CLOSE_WAIT", "LAST_ACK", "A18"),
    ("LAST_ACK", "CLOSED", "A19"),
    ("TIME_WAIT", "CLOSED", "A20"),
    ("LISTEN", "SYN_SENT", "A21"), // not on Linux
];

#[test]
fn the_diagram_in_readme_has_these_arrows() {
    let readme = fs::read_to_string("README.md").unwrap();
    // CLOSED is drawn twice, so both paths go down.
    let start = "stateDiagram-v2\n    state \"CLOSED\" as CLOSED2\n";
    let (_, diagram) = readme.split_once(start).unwrap();
    let (diagram, _) = diagram.split_once("```").unwrap();
    let diagram = diagram.replace("CLOSED2", "CLOSED");
    // FROM --> TO: ID on / sends
    let words = |line: &str| {
        line.split_whitespace()
            .take(4)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let arrows = diagram.lines().filter(|line| line.contains("-->"));
    let mut drawn: Vec<_> = arrows.map(words).collect();
    let mut expected = ARROWS.map(|(from, to, id)| format!("{from} --> {to}: {id}"));

    drawn.sort();
    expected.sort();
    assert_eq!(drawn, expected);
}

#[test]
fn each_arrow_has_a_test_in_the_table_of_tests() {
    let table = fs::read_to_string("tests/README.md").unwrap();
    for (_, _, id) in ARROWS {
        let start = format!("| {id} |");
        let row = table.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no row of {id}"));
        // The last cell: FILE.rs `TEST`, `TEST`, FILE.rs `TEST`
        let cell = row.rsplit(" | ").next().unwrap();
        let (mut file, mut tests) = (String::new(), 0);
        for word in cell.split([' ', ',', '`']) {
            if word.ends_with(".rs") {
                file = fs::read_to_string(format!("tests/{word}")).unwrap();
            } else if word.split('_').any(|part| part == id.to_lowercase()) {
                assert!(file.contains(&format!("fn {word}()")), "no test {word}");
                tests += 1;
            }
        }
        assert!(tests > 0, "{id} has no test with its id: {row}");
    }
}
