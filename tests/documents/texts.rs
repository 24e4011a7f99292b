//! The documents and their sections.

use std::fs;
use std::path::Path;

pub const TEXTS: [&str; 16] = [
    "README.md",
    "README.zh-CN.md",
    "benches/README.md",
    "src/doc/differences.md",
    "src/doc/laboratory.md",
    "src/doc/own_server.md",
    "src/doc/states.md",
    "src/doc/figures.md",
    "src/doc/when_things_go_wrong.md",
    "src/doc/without_the_line.md",
    "src/doc/without_the_line/l1.md",
    "src/doc/without_the_line/l2.md",
    "src/doc/without_the_line/l3.md",
    "src/doc/without_the_line/l4.md",
    "src/doc/without_the_line/s17.md",
    "tests/README.md",
];

pub fn read(file: impl AsRef<Path>) -> String {
    let file = file.as_ref();
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// Returns a text without its code blocks.
pub fn prose(text: impl AsRef<Path>) -> String {
    read(text).split("\n```").step_by(2).collect()
}

/// A code block, such as the lines between ```` ```console ```` and ```` ``` ````.
#[derive(Default)]
pub struct Block {
    /// The second-level heading above the block.
    pub section: String,
    /// The language, such as `console`.
    pub kind: String,
    pub text: String,
}

pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = String::new();
    let mut in_block = false;
    for line in read(text).lines() {
        if let Some(kind) = line.strip_prefix("```") {
            in_block = !in_block;
            if in_block {
                blocks.push(Block {
                    section: section.clone(),
                    kind: kind.to_owned(),
                    text: String::new(),
                });
            }
        } else if in_block {
            blocks.last_mut().unwrap().text += &format!("{line}\n");
        } else if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
    }
    blocks
}
