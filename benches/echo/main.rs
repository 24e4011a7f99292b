//! What the pair costs, beside what its peers cost: `cargo bench` prints tables in
//! Markdown, ratios first.
//!
//! `cargo bench -- --quick` does a tenth of the work; `cargo bench -- NAME…` prints
//! only the tables of these names: see [`TABLES`]. Each table's contenders take turns,
//! round by round, on loopback, and a ratio is that of two medians of rounds. Nothing
//! is judged: no figure makes this fail.

#[path = "../../tests/common/mod.rs"]
mod common;
mod load;
mod peers;
mod process;
mod report;
mod tables;

use peers::{Peers, first_line};
use std::process::{Command, ExitCode};
use std::{env, fs, thread};

/// A name, and what prints the tables of that name.
type Table = (&'static str, fn(&Bench));

const TABLES: [Table; 7] = [
    ("connections", tables::connections),
    ("roundtrip", tables::roundtrip),
    ("lines", tables::lines),
    ("bulk", tables::bulk),
    ("batch", tables::batch),
    ("memory", tables::memory),
    ("held", tables::held),
];

struct Bench {
    peers: Peers,
    quick: bool,
}

impl Bench {
    /// How much to do of what a full run does so much of.
    fn work(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

fn main() -> ExitCode {
    let (cargos, ours): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|arg| arg == "--bench");
    // `cargo test --all-targets` starts this as well, and then nothing is to be timed.
    if cargos.is_empty() {
        println!("a benchmark: run it with cargo bench");
        return ExitCode::SUCCESS;
    }
    let (options, names): (Vec<_>, Vec<_>) = ours.iter().partition(|arg| arg.starts_with('-'));
    let known = TABLES.map(|(name, _)| name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("no table {name}; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let bench = Bench {
        peers: Peers::find(),
        quick: options.iter().any(|&option| option == "--quick"),
    };

    print_header(&ours, &bench.peers.notes);
    for (name, table) in TABLES {
        if names.is_empty() || names.iter().any(|&wanted| wanted == name) {
            table(&bench);
        }
    }
    ExitCode::SUCCESS
}

/// Prints how this was run, when, on what and beside what.
fn print_header(args: &[String], found: &[String]) {
    let date = first_line(Command::new("date").arg("-I"));
    let dashes = if args.is_empty() { "" } else { " -- " };
    println!("- `cargo bench{dashes}{}`, {date}", args.join(" "));
    println!("- {}", first_line(Command::new("uname").arg("-srm")));
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = |line: &'_ str| {
        Some(
            line.strip_prefix("model name")?
                .split_once(": ")?
                .1
                .to_owned(),
        )
    };
    let model = cpuinfo.lines().find_map(model);
    let model = model.as_deref().unwrap_or("a processor without a name");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("- {model}, {cores} cores");
    println!("- {}", first_line(peers::rustc().arg("--version")));
    for line in found {
        println!("- {line}");
    }
    println!();
}
