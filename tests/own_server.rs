//! README's server of one's own: the library's page shows the same program, and it compiles,
//! runs and can be started again as it stands.
//!
//! Ignored where Cargo cannot make a crate offline, as another user than the one who built this.

mod common;

use common::*;
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const README: &str = include_str!("../README.md");
const LIB: &str = include_str!("../src/lib.rs");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

fn main() {
    let made = make_crate().err().map(|why| format!("no crate: {why}"));
    machine::run(
        made,
        tests![readmes_program_runs_and_starts_again_over_time_wait],
    );
}

/// The lines between ```` ```start ```` and ```` ``` ````.
fn block(text: &str, start: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| *line != format!("```{start}"));
    let block: Vec<_> = lines.skip(1).take_while(|line| *line != "```").collect();
    assert!(!block.is_empty(), "no {start} block");
    block.join("\n") + "\n"
}

fn crate_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("own_server")
}

fn cargo(subcommand: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(subcommand)
        .arg("--offline")
        .current_dir(crate_directory());
    cargo.env("CARGO_TARGET_DIR", crate_directory().join("target"));
    cargo
}

/// A crate with README's dependencies and README's program, but for its address, which is an
/// argument here.
fn make_crate() -> Result<(), String> {
    let program = block(README, "rust");
    let address = "\"0.0.0.0:9877\"";
    assert!(program.contains(address));
    let program = program.replace(address, "std::env::args().nth(1).unwrap()");
    let dependencies = block(README, "toml");
    let (start, rest) = dependencies.split_once("path = \"").unwrap();
    let (_, end) = rest.split_once('"').unwrap();
    let package = "[package]\nname = \"own_server\"\nedition = \"2024\"\n\n[workspace]\n\n";
    let manifest = format!("{package}{start}path = \"{REPOSITORY}\"{end}");

    let directory = crate_directory();
    let made = fs::create_dir_all(directory.join("src"))
        .and_then(|()| fs::write(directory.join("Cargo.toml"), manifest))
        .and_then(|()| fs::write(directory.join("src/main.rs"), program))
        .and_then(|()| {
            fs::copy(
                format!("{REPOSITORY}/Cargo.lock"),
                directory.join("Cargo.lock"),
            )
        });
    made.map_err(|why| format!("{}: {why}", directory.display()))?;
    let ended = run(&mut cargo(&["tree"]));
    match ended.code {
        Some(0) => Ok(()),
        _ => Err(ended.stderr.lines().last().unwrap_or_default().to_owned()),
    }
}

fn readmes_program_runs_and_starts_again_over_time_wait() {
    let page = LIB.lines().filter_map(|line| line.strip_prefix("//!"));
    let page: Vec<_> = page
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    assert_eq!(
        block(&page.join("\n"), "no_run"),
        block(README, "rust"),
        "src/lib.rs"
    );

    let mut build = spawn(&mut cargo(&["build", "--quiet"]));
    let start = Instant::now();
    let built = loop {
        match build.try_wait().unwrap() {
            Some(status) => break status,
            None => sleep(Duration::from_millis(10)),
        }
        assert!(
            start.elapsed() < 10 * DEADLINE,
            "the dependencies take longer"
        );
    };
    assert!(built.success());
    let program = crate_directory().join("target/debug/own_server");

    let mut address = "127.0.0.1:0".to_owned();
    for _ in 0..2 {
        let mut command = Command::new(&program);
        let server = Client::spawn(command.arg(&address), Stdio::null(), Stdio::null());
        let servaddr = listening_address(server.pid());
        address = servaddr.to_string();

        let mut stream = connect(servaddr);
        stream.write_all(b"hello\nhello, world\n").unwrap();
        assert_eq!(read_bytes(&mut stream, 5), b"6\n13\n");
        let client = stream.local_addr().unwrap();
        // The server's end closes first.
        signal(children(server.pid())[0], Signal::SIGKILL);
        assert_eq!(rest(&mut stream), b"");
        drop(stream);
        wait_state(servaddr, client, "TIME_WAIT");
    }
}
