//! Addresses of IPv6: with a scope, and with an IPv4 address inside.

use crate::common::trace::events;
use crate::common::*;
use crate::namespace;
use nix::net::if_::if_nametoindex;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

fn server(ip: &str, args: &[&str]) -> Server {
    Server::spawn(tcpserv(ip, 0).args(args))
}

/// A tcpcli with an address as a user writes it.
fn client(ip: &str, server: SocketAddr) -> Command {
    let mut command = Command::new(TCPCLI);
    command.args([ip, "-p", &server.port().to_string()]);
    command
}

pub fn link_local_addresses_have_their_scope_by_name_or_by_number() {
    namespace::ipv6().unwrap();
    let number = if_nametoindex("veth0").unwrap().to_string();
    for bind in ["veth0", &number] {
        for connect in ["veth0", &number] {
            let server = server(&format!("fe80::1%{bind}"), &[]);
            let mut client = client(&format!("fe80::1%{connect}"), server.addr);
            let mut client = Program::spawn(&mut client, Stdio::piped(), Stdio::piped());
            client.type_in(b"hello\n");
            assert_eq!(client.next_output(6), b"hello\n");
            client.ctrl_d_and_wait().succeeded(b"");
        }
    }
}

pub fn a_scope_that_does_not_exist_is_a_usage_error() {
    let mut tcpserv = tcpserv("fe80::1%veth7", 0);
    let mut tcpcli = client("fe80::1%veth7", ([0; 4], 9877).into());
    for program in [&mut tcpserv, &mut tcpcli] {
        let ended = run(program);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("veth7"), "{}", ended.stderr);
    }
}

pub fn the_narration_never_calls_a_live_connection_closed() {
    namespace::ipv6().unwrap();
    for (bind, connect) in [
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("0.0.0.0", "::ffff:127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fe80::1%veth0", "fe80::1%veth0"),
        ("::", "fe80::1%veth0"),
    ] {
        let server = server(bind, &["--trace"]);
        let mut client = client(connect, server.addr);
        let mut client = Program::spawn(client.arg("--trace"), Stdio::piped(), Stdio::piped());
        client.type_in(b"hello\n");
        client.next_output(6);
        let ended = client.ctrl_d_and_wait();
        server.wait_said("waitpid");

        let told = events(ended.stderr.lines());
        let connect = told
            .iter()
            .position(|event| event.text.starts_with("connect"));
        let after = &told[connect.unwrap() + 1..];
        let states: Vec<_> = after.iter().map(|event| event.state.as_str()).collect();
        assert!(states.contains(&"ESTABLISHED"), "{bind}: {}", ended.stderr);
        assert!(states.contains(&"TIME_WAIT"), "{bind}: {}", ended.stderr);
        assert!(!states.contains(&"CLOSED"), "{bind}: {}", ended.stderr);

        let said = server.said();
        let told = events(&said);
        let child = told
            .iter()
            .find(|event| event.text.starts_with("fork() = 0"));
        let child = &child.unwrap().process;
        let mut alive: Vec<_> = told
            .iter()
            .filter(|event| event.process == *child)
            .collect();
        let close = alive
            .iter()
            .rposition(|event| event.text.starts_with("close"));
        alive.truncate(close.unwrap() + 1);
        alive.extend(told.iter().find(|event| event.text.starts_with("4: "))); // accepted
        let states: Vec<_> = alive.iter().map(|event| event.state.as_str()).collect();
        assert!(states.contains(&"CLOSE_WAIT"), "{bind}: {said:#?}");
        assert!(!states.contains(&"CLOSED"), "{bind}: {said:#?}");
    }
}
