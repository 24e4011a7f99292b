//! Runs the notes' two main functions unchanged (src/doc/tcpserv01.rs and tcpcli01.rs, which use
//! the library), each in a process of this test program.

use crate::common::*;
use std::env;

mod tcpserv01 {
    include!("../../src/doc/tcpserv01.rs");
    pub const MAIN: fn() -> anyhow::Result<()> = main;
}

mod tcpcli01 {
    include!("../../src/doc/tcpcli01.rs");
    pub const MAIN: fn() -> anyhow::Result<()> = main;
}

/// The environment variable that selects the main function to run.
const PLAIN: &str = "PLAIN";

/// Runs one of the main functions if this process was started to do so.
pub fn run_if_asked() {
    match env::var(PLAIN).as_deref() {
        Ok("tcpserv01") => tcpserv01::MAIN().unwrap(),
        Ok("tcpcli01") => tcpcli01::MAIN().unwrap(),
        _ => {}
    }
}

fn plain(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(PLAIN, name);
    command
}

pub fn the_plain_listings_echo_a_line_and_leave_a_zombie() {
    let server = Program::spawn(&mut plain("tcpserv01"), Stdio::null(), Stdio::null());
    let listening = listening_address(server.pid());
    assert_eq!(listening.to_string(), "0.0.0.0:9877");

    let mut client = plain("tcpcli01");
    let mut client = Program::spawn(client.arg("127.0.0.1"), Stdio::piped(), Stdio::piped());
    client.echoes(b"hello\n");
    let address = client.addr();
    let child = children(server.pid())[0];
    client.ctrl_d_and_wait().succeeded(b"");
    assert_eq!(zombie_status(child), 0); // the listing has no handler for SIGCHLD
    let servaddr = SocketAddr::from(([127, 0, 0, 1], 9877));
    wait_state(address, servaddr, "TIME_WAIT");

    let usage = run(&mut plain("tcpcli01")).stderr;
    assert!(usage.contains("usage: tcpcli <IPaddress>"), "{usage}");
}
