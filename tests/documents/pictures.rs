//! What README.md and README.zh-CN.md draw and let one type is the same.

use crate::texts::{blocks, prose};

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];

/// linkStyle counts the arrows by their place: a new one would move the thick ones.
pub fn f9_the_thick_arrows_are_the_usual_paths_of_client_and_server() {
    for readme in READMES {
        let diagrams = blocks(readme).into_iter();
        let mut texts = diagrams.map(|block| block.text());
        let diagram = texts.find(|text| text.starts_with("flowchart")).unwrap();
        let arrows = diagram.split("|\"").skip(1);
        let arrows: Vec<_> = arrows
            .map(|label| label.split(' ').next().unwrap())
            .collect();
        let thick = |is_dashed: bool| {
            let styles = diagram
                .lines()
                .filter_map(|line| line.trim().strip_prefix("linkStyle "));
            let mut styles = styles.filter(|style| style.contains("dasharray") == is_dashed);
            let (places, style) = styles.next().unwrap().split_once(' ').unwrap();
            assert!(style.starts_with("stroke-width:4px,"), "{style}");
            let places = places
                .split(',')
                .map(|place| place.parse::<usize>().unwrap());
            places
                .map(|place| arrows[place])
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(thick(false), "A2 A6 A10 A13 A16 A20", "{readme}: client");
        assert_eq!(thick(true), "A1 A3 A4 A12 A18 A19", "{readme}: server");
    }
}

pub fn the_chinese_readme_has_the_commands_and_sessions_of_readme() {
    let [english, chinese] = READMES.map(|readme| {
        let typed = blocks(readme).into_iter();
        let typed = typed.filter(|block| ["sh", "console"].contains(&block.kind.as_str()));
        typed.map(|block| block.text()).collect::<Vec<_>>()
    });
    assert_eq!(english, chinese);
}

pub fn the_chinese_readme_has_each_section_of_the_claims_and_each_picture() {
    let readme = prose(READMES[1]).replace("**", "");
    let list = prose("tests/README.md");
    let rows = list
        .lines()
        .filter(|line| line.matches('|').count() == 4)
        .skip(2);
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let has = |text: String| assert!(readme.contains(&text), "{row}");
        has(format!("\n| {}", cells[2]));
        if cells[1].starts_with('F') {
            has(format!("[{}](", cells[1]));
        }
    }
}
