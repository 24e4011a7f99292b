//! What the options do, and what a wrong call gets: clap's own message, exit 2.

mod common;

use common::*;
use std::fs;
use std::process::Command;

fn call(program: &str, args: &[&str]) -> Ended {
    run(Command::new(program).env_remove("LISTENQ").args(args))
}

#[test]
fn a_wrong_call_gets_a_message_on_standard_error_and_exit_2() {
    for (program, args) in [
        (TCPCLI, &["nonsense"][..]),
        (TCPCLI, &["localhost"]),
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
        (TCPSERV, &["--idle-timeout", "2147484"]),
    ] {
        let output = call(program, args);
        assert_eq!(output.code, Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(output.stderr.starts_with("error: "), "{args:?}");
    }
}

#[test]
fn listenq_in_the_environment_must_be_a_number() {
    let output = run(Command::new(TCPSERV).env("LISTENQ", "x").args(["-p", "0"]));
    assert_eq!(output.code, Some(2));
    let said = output.stderr;
    assert!(
        said.contains("invalid value 'x' for '--backlog <N>'"),
        "{said}"
    );
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
fn the_port_is_9877_unless_another_is_given() {
    for program in [TCPSERV, TCPCLI] {
        let help = String::from_utf8(call(program, &["--help"]).stdout).unwrap();
        assert!(help.contains("[default: 9877]"), "{help}");
    }
}

#[test]
fn the_client_takes_an_ipv6_address() {
    if !fs::exists("/proc/net/if_inet6").unwrap() {
        return; // a kernel without IPv6
    }
    let server = Server::spawn(&mut tcpserv("::1", 0));
    let ended = Client::start(server.addr, &[]).feed(b"hello\n");
    assert_eq!((ended.code, ended.stdout), (Some(0), b"hello\n".to_vec()));
}
