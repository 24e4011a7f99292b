//! Who is compared: the pair, and what is found here to compare it with.

use crate::common::{TCPCLI, TCPSERV};
use crate::process::Server;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, io};

/// A contender: its name, and how it is started.
pub struct Peer {
    pub name: &'static str,
    program: String,
    args: &'static str,
}

impl Peer {
    /// What starts it; a client, as one of the server on this port.
    pub fn command(&self, port: u16) -> Command {
        let args = self.args.replace("PORT", &port.to_string());
        let mut command = Command::new(&self.program);
        command.args(args.split_whitespace());
        command
    }
}

fn add(peers: &mut Vec<Peer>, name: &'static str, program: &str, args: &'static str) {
    let program = program.to_owned();
    peers.push(Peer {
        name,
        program,
        args,
    });
}

/// All contenders of each kind, this pair's first.
#[derive(Default)]
pub struct Peers {
    pub servers: Vec<Peer>,
    pub line_clients: Vec<Peer>,
    pub batch_clients: Vec<Peer>,
    /// In a line each: what was found, and what was not.
    pub notes: Vec<String>,
}

impl Peers {
    pub fn find() -> Peers {
        let mut peers = Peers::default();
        peers.find_ours();
        peers.build_plain();
        peers.build_floor();
        peers.find_socat();
        peers.find_nc();
        peers
    }

    fn find_ours(&mut self) {
        let args = "-p 0 --max-clients 0 --backlog 4096";
        add(&mut self.servers, "tcpserv", TCPSERV, args);
        let dynamically = Server::start(&self.servers[0]).has_loader();
        let linked = if dynamically {
            "dynamically"
        } else {
            "statically"
        };
        self.notes.push(format!("tcpcli, tcpserv: {linked} linked"));
        let args = "-p PORT 127.0.0.1";
        add(&mut self.line_clients, "tcpcli", TCPCLI, args);
        let args = "--batch -p PORT 127.0.0.1";
        add(&mut self.batch_clients, "tcpcli --batch", TCPCLI, args);
    }

    fn build_plain(&mut self) {
        let cc = env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
        let version = first_line(Command::new(&cc).arg("--version"));
        for (name, options) in [
            ("plain C", "-O2"),
            ("plain C, static", "-O2 -fPIE -static-pie"),
        ] {
            let options = options.split(' ');
            let plain = match build(Command::new(&cc).args(options.clone()), "plain.c") {
                Ok(plain) => plain,
                Err(why) => return self.notes.push(format!("no {name}: {why}")),
            };
            let options: Vec<_> = options.collect();
            self.notes
                .push(format!("{name}: {version}, {}", options.join(" ")));
            add(&mut self.servers, name, &plain, "serv");
            add(&mut self.line_clients, name, &plain, "cli PORT");
        }
    }

    fn build_floor(&mut self) {
        let options = "--edition=2024 -Copt-level=3 -Cpanic=abort -Crelocation-model=static \
                       -Clink-arg=-nostartfiles -Clink-arg=-static";
        let floor = match build(rustc().args(options.split_whitespace()), "floor.rs") {
            Ok(floor) => floor,
            Err(why) => return self.notes.push(format!("no floor: {why}")),
        };
        let what = "floor: bare system calls in a static program";
        self.notes.push(what.to_owned());
        add(&mut self.servers, "floor", &floor, "serv");
        add(&mut self.line_clients, "floor", &floor, "lines PORT");
        add(&mut self.batch_clients, "floor", &floor, "batch PORT");
    }

    fn find_socat(&mut self) {
        let Some(version) = line_with("socat version", Command::new("socat").arg("-V")) else {
            return self.notes.push("no socat".to_owned());
        };
        self.notes.push(version);
        // In pieces of PIPE_BUF: a larger one may find the pipe with less room, and
        // then socat, which alone could make more, waits for ever.
        let args = "-b 4096 TCP4-LISTEN:0,reuseaddr,fork,backlog=1024 PIPE";
        add(&mut self.servers, "socat", "socat", args);
        let args = "-t 60 - TCP4:127.0.0.1:PORT";
        add(&mut self.batch_clients, "socat", "socat", args);
    }

    fn find_nc(&mut self) {
        let Some(version) = line_with("OpenBSD netcat", Command::new("nc").arg("-h")) else {
            let what = "no nc of OpenBSD's, which alone has -N";
            return self.notes.push(what.to_owned());
        };
        self.notes.push(format!("nc: {version}"));
        add(&mut self.batch_clients, "nc -N", "nc", "-N 127.0.0.1 PORT");
    }
}

/// The compiler that Cargo would use.
pub fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")))
}

// What is made here has no name left when the functions return: it goes with its last
// descriptor, however the benchmark ends.

/// Compiles one of benches/peers, and returns by which path it can be started.
fn build(compiler: &mut Command, source: &str) -> Result<String, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let directory = temporary();
    let program = directory.join("program");
    let built = fs::create_dir(&directory).and_then(|()| {
        compiler.arg(sources.join(source)).arg("-o").arg(&program);
        let said = compiler.output().map(|output| output.stderr);
        let program = File::open(&program);
        fs::remove_dir_all(&directory)?;
        Ok((said?, program))
    });
    let (said, program) =
        built.map_err(|why| format!("{}: {why}", compiler.get_program().display()))?;
    let Ok(program) = program else {
        let said = String::from_utf8_lossy(&said);
        return Err(said
            .lines()
            .next()
            .unwrap_or("nothing was built")
            .to_owned());
    };
    let (pid, fd) = (process::id(), program.into_raw_fd());
    Ok(format!("/proc/{pid}/fd/{fd}"))
}

/// A file with this in it.
pub fn input(fill: impl FnOnce(&mut File) -> io::Result<()>) -> File {
    let made = || {
        let path = temporary();
        let mut file = File::create_new(&path)?;
        fs::remove_file(&path)?;
        fill(&mut file).map(|()| file)
    };
    made().unwrap_or_else(|why| panic!("an input file: {why}"))
}

fn temporary() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("echo-{}", process::id()))
}

/// The first line that begins so of all that a program says.
fn line_with(words: &str, command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.starts_with(words));
    line.map(str::to_owned)
}

/// The first line that a program says.
pub fn first_line(command: &mut Command) -> String {
    line_with("", command).unwrap_or_default()
}
