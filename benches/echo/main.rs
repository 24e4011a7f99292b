//! Measures how fast the two programs and their peers are. `cargo bench` prints tables in
//! Markdown; benches/README.md contains the tables from one run, and explains them.
//!
//! `cargo bench -- --quick` does a tenth of the work, and `cargo bench -- NAME…` prints only the
//! named [`TABLES`]. No result makes the benchmark fail.

#[path = "../../tests/common/mod.rs"]
mod common;
mod load;
mod peers;
mod report;
mod tables;

use std::env;
use std::process::ExitCode;

/// The name of a table, and the function that prints the table with 1/n of the work.
type Table = (&'static str, fn(usize));

const TABLES: [Table; 7] = [
    ("connections", tables::connections),
    ("roundtrip", tables::roundtrip),
    ("lines", tables::lines),
    ("bulk", tables::bulk),
    ("batch", tables::batch),
    ("memory", tables::memory),
    ("held", tables::held),
];

fn main() -> ExitCode {
    let (options, names): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let given = |option: &str| options.iter().any(|given| given == option);
    // `cargo test --all-targets` also starts this program, but without --bench.
    if !given("--bench") {
        println!("this is a benchmark: run it with cargo bench");
        return ExitCode::SUCCESS;
    }
    let known = TABLES.map(|(name, _)| name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("no table {name}; the tables are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let quick = given("--quick");
    println!("- cargo bench{}", if quick { " -- --quick" } else { "" });
    peers::build();
    println!();
    for (name, table) in TABLES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            table(if quick { 10 } else { 1 });
        }
    }
    ExitCode::SUCCESS
}
