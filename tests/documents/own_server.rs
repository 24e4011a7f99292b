//! The server of src/doc/own_server.md compiles, runs and can be started again as it stands.

use crate::common::*;
use crate::texts::blocks;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread::sleep;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

fn crate_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("own_server")
}

/// Where Cargo has built the tests: what does not differ is not compiled again.
fn target_directory() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

fn cargo(subcommand: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(subcommand).arg("--offline");
    cargo.current_dir(crate_directory());
    cargo.env("CARGO_TARGET_DIR", target_directory());
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0"); // it is faster
    cargo
}

/// Makes a crate with the text's dependencies and the text's program, but for its address,
/// which is an argument here. In a second program the handler panics.
///
/// # Errors
/// Why Cargo cannot make it offline, as it may be for another user than the one who built this.
pub fn make_crate() -> Result<(), String> {
    static MADE: LazyLock<Result<(), String>> = LazyLock::new(|| {
        let blocks = blocks("src/doc/own_server.md");
        let block = |kind: &str| {
            blocks
                .iter()
                .find(|block| block.kind == kind)
                .unwrap()
                .text()
        };
        let replace = |program: &str, from: &str, to: &str| {
            assert!(program.contains(from), "no {from}");
            program.replace(from, to)
        };
        let program = block("rust,no_run");
        let argument = "std::env::args().nth(1).unwrap()";
        let program = replace(&program, "\"0.0.0.0:9877\"", argument);
        let panics = replace(&program, "Ok(()) //", "panic!() //");
        let package = "[package]\nname = \"own_server\"\nedition = \"2024\"\n\n[workspace]\n\n";
        let dependencies = replace(&block("toml"), "\"../unp\"", &format!("{REPOSITORY:?}"));

        let write = || {
            let directory = crate_directory();
            fs::create_dir_all(directory.join("src/bin"))?;
            fs::write(
                directory.join("Cargo.toml"),
                format!("{package}{dependencies}"),
            )?;
            fs::write(directory.join("src/main.rs"), program)?;
            fs::write(directory.join("src/bin/own_server_panics.rs"), panics)?;
            fs::copy(
                format!("{REPOSITORY}/Cargo.lock"),
                directory.join("Cargo.lock"),
            )
        };
        write().map_err(|why| format!("{}: {why}", crate_directory().display()))?;
        let ended = run(&mut cargo(&["tree"]));
        match ended.code {
            Some(0) => Ok(()),
            _ => Err(ended.stderr.lines().last().unwrap_or_default().to_owned()),
        }
    });
    MADE.clone()
}

/// Starts one of the programs, which the first caller builds.
fn start(program: &str, address: &str) -> Program {
    static BUILT: LazyLock<()> = LazyLock::new(|| {
        let mut build = spawn(&mut cargo(&["build", "--quiet"]));
        // The dependencies take longer than one deadline.
        let start = Instant::now();
        while build.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < 10 * DEADLINE, "it takes longer");
            sleep(Duration::from_millis(10));
        }
        assert!(build.wait().unwrap().success());
    });
    *BUILT;
    let mut program = Command::new(target_directory().join("debug").join(program));
    Program::spawn(program.arg(address), Stdio::null(), Stdio::null())
}

pub fn p1_the_server_runs_and_starts_again_over_time_wait() {
    let mut address = "127.0.0.1:0".to_owned();
    for _ in 0..2 {
        let server = start("own_server", &address);
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

pub fn a_panic_in_the_handler_kills_the_child_and_the_parent_prints_it() {
    let mut server = start("own_server_panics", "127.0.0.1:0");
    set_limit(server.pid(), Resource::CORE, 0);
    let mut stream = connect(listening_address(server.pid()));
    let child = wait_for("the child", || children(server.pid()).first().copied());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), b"");
    wait_until("the parent to reap the child", || gone(child));
    wait_accepting(server.pid());
    signal(server.pid(), Signal::SIGTERM);
    let said = server.wait().stderr;
    let line = format!("own_server_panics: child {child} was killed, signal: 6 (SIGABRT)");
    assert!(said.lines().any(|said| said == line), "{said}");
}
