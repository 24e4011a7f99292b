//! The options, and the response to a usage error: clap's message and exit status 2.

mod common;

use common::*;

fn call(program: &str, args: &[&str]) -> Ended {
    run(Command::new(program).args(args))
}

#[test]
fn c1_a_usage_error_prints_a_message_on_standard_error_and_exits_with_status_2() {
    let no_address = "Usage: tcpcli"; // exactly one address is required
    let wrong_value = "error: invalid value ";
    for (program, args, said) in [
        (TCPCLI, &[][..], no_address),
        (TCPCLI, &["127.0.0.1", "127.0.0.2"], no_address),
        (TCPCLI, &["127.0.0.1", "--nonsense"], no_address),
        (TCPCLI, &["localhost"], "examples: 127.0.0.1, ::1"),
        (TCPCLI, &["fe80::1%nonsense"], wrong_value),
        (TCPCLI, &["127.0.0.1", "-p", "70000"], wrong_value),
        (TCPCLI, &["127.0.0.1", "-p", "0"], wrong_value),
        (TCPCLI, &["::1", "-p", "-1"], wrong_value),
        (TCPSERV, &["nonsense"], "Usage: tcpserv"),
        (TCPSERV, &["-p", "-1"], wrong_value),
        (TCPSERV, &["-b", "nonsense"], wrong_value),
        (TCPSERV, &["--backlog=-1"], wrong_value),
        (TCPSERV, &["--idle-timeout", "0"], wrong_value),
        (TCPSERV, &["--idle-timeout", "4294967296"], wrong_value),
    ] {
        let ended = call(program, args);
        assert_eq!((ended.code, &ended.stdout[..]), (Some(2), &b""[..]));
        let its = ended.stderr.starts_with("error: ") && ended.stderr.contains(said);
        assert!(its, "{args:?}: {}", ended.stderr);
    }
    for listenq in ["x", "-1", ""] {
        let ended = run(tcpserv("127.0.0.1", 0).env("LISTENQ", listenq));
        assert_eq!(ended.code, Some(2), "{listenq:?}");
        assert!(ended.stderr.contains("LISTENQ"), "{}", ended.stderr);
    }
}

#[test]
fn version_and_help_name_the_program_and_the_defaults() {
    for (program, name, defaults) in [
        (TCPSERV, "tcpserv", &["9877", "0.0.0.0", "1024", "4096"][..]),
        (TCPCLI, "tcpcli", &["9877"]),
    ] {
        let version = format!("{name} 0.1.0\n");
        call(program, &["--version"]).succeeded(version.as_bytes());

        let help = call(program, &["--help"]);
        assert_eq!(help.code, Some(0));
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("Usage: {name} [OPTIONS]")));
        for default in defaults {
            assert!(help.contains(&format!("[default: {default}]")), "{help}");
        }
    }
}
