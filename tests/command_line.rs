//! The options, and the answer to a wrong call: clap's message and exit status 2.

mod common;

use common::*;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

fn call(program: &str, args: &[&str]) -> Ended {
    run(Command::new(program).env_remove("LISTENQ").args(args))
}

#[test]
fn a_wrong_call_gets_a_message_on_standard_error_and_exit_2() {
    for (program, args) in [
        (TCPCLI, &["nonsense"][..]),
        (TCPCLI, &["fe80::1%nonsense"]),
        (TCPSERV, &["-b", "fe80::1%nonsense"]),
        (TCPCLI, &["127.0.0.1", "-p", "70000"]),
        (TCPCLI, &["127.0.0.1", "-p", "0"]),
        (TCPCLI, &["127.0.0.1", "--nonsense"]),
        (TCPSERV, &["nonsense"]),
        (TCPSERV, &["-p", "70000"]),
        (TCPSERV, &["--port=-1"]),
        (TCPSERV, &["-b", "nonsense"]),
        (TCPSERV, &["--backlog", "x"]),
        (TCPSERV, &["--backlog=-1"]),
        (TCPSERV, &["--max-clients=-1"]),
        (TCPSERV, &["--idle-timeout", "0"]),
        (TCPSERV, &["--idle-timeout", "x"]),
        (TCPSERV, &["--idle-timeout", "4294967296"]),
    ] {
        let output = call(program, args);
        assert_eq!(output.code, Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(output.stderr.starts_with("error: "), "{args:?}");
    }
}

#[test]
fn a_listenq_in_the_environment_that_is_no_number_is_refused() {
    for listenq in ["x", "-1", ""] {
        let mut command = tcpserv("127.0.0.1", 0);
        let ended = run(command.env("LISTENQ", listenq));
        assert_eq!(ended.code, Some(2), "{listenq:?}");
        assert!(ended.stderr.contains("LISTENQ"), "{}", ended.stderr);
    }
}

#[test]
fn version_and_help_name_the_program() {
    for (program, name) in [(TCPSERV, "tcpserv"), (TCPCLI, "tcpcli")] {
        let version = call(program, &["--version"]);
        assert_eq!(version.code, Some(0));
        assert_eq!(version.stdout, format!("{name} 0.1.0\n").as_bytes());

        let help = call(program, &["--help"]);
        assert_eq!(help.code, Some(0));
        let usage = format!("Usage: {name} [OPTIONS]");
        assert!(String::from_utf8(help.stdout).unwrap().contains(&usage));
    }
}

#[test]
fn a_negative_number_is_a_wrong_value_and_no_option() {
    for (program, args) in [(TCPSERV, &["-p", "-1"][..]), (TCPCLI, &["::1", "-p", "-1"])] {
        let said = call(program, args).stderr;
        assert!(said.contains("invalid value '-1'"), "{said}");
    }
}

#[test]
fn the_limit_of_clients_is_4096_unless_another_is_given() {
    let help = String::from_utf8(call(TCPSERV, &["--help"]).stdout).unwrap();
    let line = help.lines().find(|line| line.contains("--max-clients"));
    assert!(line.unwrap().ends_with("[default: 4096]"), "{help}");
}

#[test]
fn the_port_is_9877_unless_another_is_given() {
    for program in [TCPSERV, TCPCLI] {
        let help = String::from_utf8(call(program, &["--help"]).stdout).unwrap();
        assert!(help.contains("[default: 9877]"), "{help}");
    }
}

#[test]
fn a_name_instead_of_an_address_gets_an_example_of_one() {
    let ended = call(TCPCLI, &["localhost"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("examples: 127.0.0.1, ::1"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_option_that_is_given_twice_counts_the_last_time() {
    let server = Server::spawn(tcpserv("127.0.0.9", 1).args(["-p", "0", "-b", "127.0.0.1"]));
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut client = tcpcli(nowhere);
    let port = server.addr.port().to_string();
    let client = client.args(["--port", &port]);
    Program::spawn(client, Stdio::piped(), Stdio::piped())
        .feed(b"hello\n")
        .succeeded(b"hello\n");
}

#[test]
fn a_message_is_one_line_of_512_bytes_at_most() {
    let server = Server::start(&[]);
    let mut command = tcpserv("127.0.0.1", server.addr.port());
    let ended = run(command.arg0("x".repeat(600)));
    assert_eq!(ended.stderr, "x".repeat(511) + "\n");
    let mut command = tcpserv("127.0.0.1", server.addr.port());
    let ended = run(command.arg0("/path/to/a\nb"));
    assert!(
        ended.stderr.starts_with("a?b: bind error: "),
        "{}",
        ended.stderr
    );
}
