//! Messages on standard error: each is one short line, and never makes a client wait.

mod common;

use common::terminal::pty;
use common::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

#[test]
fn a_message_is_one_line_of_at_most_512_bytes() {
    let server = Server::start(&[]);
    let second = |name: &str| {
        let mut command = tcpserv("127.0.0.1", server.addr.port());
        run(command.arg0(name)).stderr
    };
    assert_eq!(second(&"x".repeat(600)), "x".repeat(511) + "\n");
    let said = second("/path/to/a\nb");
    assert!(said.starts_with("a?b: bind error: "), "{said}");
}

/// With `tcpserv 2> log`, opening the file again would overwrite it from the start.
#[test]
fn a_log_file_gets_every_message() {
    let server = Server::start(&[]);
    let mut log = memory_file();
    for _ in 0..2 {
        let mut command = tcpserv("127.0.0.1", server.addr.port());
        let mut second = spawn(command.stderr(log.try_clone().unwrap()));
        second.wait().unwrap();
    }
    let mut said = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("bind error").count(), 2, "{said}");
}

/// Standard error is a full pipe, terminal or socket that nobody reads.
#[test]
fn a_full_standard_error_blocks_no_client() {
    let sockets = UnixStream::pair().unwrap();
    let [one, other] = <[UnixStream; 2]>::from(sockets).map(|end| File::from(OwnedFd::from(end)));
    for (mut reader, stderr) in [pipe(), pty(), (one, other)] {
        let non_blocking = |flags| fcntl(&stderr, FcntlArg::F_SETFL(flags)).unwrap();
        non_blocking(OFlag::O_NONBLOCK);
        while (&stderr).write(&[b'x'; 512]).is_ok() {} // until stderr is full
        non_blocking(OFlag::empty());
        // Make room for some messages. (A terminal is writable even if a message does not fit.)
        reader.read_exact(&mut [0; 4096]).unwrap();
        let mut command = tcpserv("127.0.0.1", 0);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = spawn(command.stderr(stderr.try_clone().unwrap()));
        let pid = Pid::from_raw(server.id() as i32);
        let addr = listening_address(pid);

        for n in 0..200 {
            let mut stream = connect(addr);
            assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
            let child = children(pid)[0];
            if n % 2 == 0 {
                signal(child, Signal::SIGKILL); // reported by the parent
            } else {
                reset(stream); // reported by the child
            }
            wait_until("the child to be reaped", || gone(child));
        }
        server.kill().unwrap();
        server.wait().unwrap();
        drop(reader); // must stay open until here
    }
}
