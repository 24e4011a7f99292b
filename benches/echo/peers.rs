//! The programs compared: tcpserv, tcpcli and those in benches/peers.

use crate::common::{Server, TCPCLI, TCPSERV};
use std::path::Path;
use std::process::Command;

/// The directory in which the peers are built: target/tmp.
const DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");

/// A server or a client.
pub struct Peer {
    pub name: &'static str,
    /// The name of the peer with which this one is compared.
    pub reference: &'static str,
    /// A path, absolute or relative to DIRECTORY.
    program: &'static str,
    args: &'static str,
}

const fn peer(
    name: &'static str,
    reference: &'static str,
    program: &'static str,
    args: &'static str,
) -> Peer {
    Peer {
        name,
        reference,
        program,
        args,
    }
}

const C: &str = "plain C";
const STATIC_C: &str = "plain C, static";
const SERVE: &str = "-p 0 -b 127.0.0.1 --max-clients 0";
const CONNECT: &str = "-p PORT 127.0.0.1";

pub const SERVERS: [Peer; 5] = [
    peer("tcpserv", C, TCPSERV, SERVE),
    peer(C, C, "peers/plain", ""),
    peer("tcpserv, static", STATIC_C, "peers/tcpserv", SERVE),
    peer(STATIC_C, STATIC_C, "peers/plain-static", ""),
    peer("lower bound", STATIC_C, "peers/floor", ""),
];

pub const CLIENTS: [Peer; 4] = [
    peer("tcpcli", C, TCPCLI, CONNECT),
    peer(C, C, "peers/plain", "PORT"),
    peer("tcpcli, static", STATIC_C, "peers/tcpcli", CONNECT),
    peer(STATIC_C, STATIC_C, "peers/plain-static", "PORT"),
];

const BATCH: &str = "--batch -p PORT 127.0.0.1";
pub const BATCH_CLIENTS: [Peer; 2] = [
    peer("tcpcli --batch", "nc -N", TCPCLI, BATCH),
    peer("nc -N", "nc -N", "peers/nc", "-N 127.0.0.1 PORT"),
];

/// Builds the programs in benches/peers, and prints the compilers and their options.
pub fn build() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/build.sh");
    let built = Command::new("sh").args([script, DIRECTORY]).status();
    built.unwrap_or_else(|why| panic!("sh: {why}"));
}

impl Peer {
    /// Starts this server.
    pub fn server(&self) -> Server {
        Server::spawn(&mut self.command(0))
    }

    /// The command that starts this program; a client connects to `port`.
    pub fn command(&self, port: u16) -> Command {
        let args = self.args.replace("PORT", &port.to_string());
        let mut command = Command::new(Path::new(DIRECTORY).join(self.program));
        command.args(args.split_whitespace());
        command
    }
}
