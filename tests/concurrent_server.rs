//! 服务器端, 并发服务器: a parent that accepts, a child for each client.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

/// That a tcpcli gets its echo through this address of the server's.
fn is_reached(server: &Server, ip: &str) {
    let addr = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
    let ended = Client::start(addr, &[]).feed(b"hello\n");
    assert_eq!(
        (ended.code, ended.stdout),
        (Some(0), b"hello\n".to_vec()),
        "{ip}"
    );
}

#[test]
fn s1_inaddr_any_is_reached_through_any_address_of_the_host() {
    let server = Server::spawn(Command::new(TCPSERV).args(["--port", "0"]));
    assert_eq!(listening(server.addr.port())[0].local, server.addr);
    assert_eq!(server.addr.ip().to_string(), "0.0.0.0");
    for ip in ["127.0.0.1", "127.0.0.2", "127.200.30.4"] {
        is_reached(&server, ip);
    }
}

#[test]
fn s1_the_ipv6_wildcard_serves_both_families() {
    if !fs::exists("/proc/net/if_inet6").unwrap() {
        return; // a kernel without IPv6
    }
    let server = Server::spawn(&mut tcpserv("::", 0));
    for ip in ["::1", "127.0.0.1"] {
        is_reached(&server, ip);
    }
}

#[test]
fn s2_an_address_that_is_not_the_hosts_own_is_refused() {
    // Of a block that is kept for documentation, so of no host.
    let output = run(Command::new(TCPSERV).args(["-p", "0", "-b", "203.0.113.1"]));
    assert_eq!(output.code, Some(1));
    assert!(output.stdout.is_empty());
    let why = "Cannot assign requested address (os error 99)";
    let said = output.stderr;
    assert_eq!(said, format!("tcpserv: bind error: 203.0.113.1:0: {why}\n"));
}

#[test]
fn s4_the_parent_sleeps_in_accept_while_nobody_comes() {
    let server = Server::start(&[]);
    wait_accepting(server.pid());
    let (_stream, child) = server.client();
    wait_accepting(server.pid());
    wait_reading_socket(child);
}

#[test]
fn s5_each_client_gets_a_new_descriptor_the_listening_one_serves_them_all() {
    let server = Server::start(&[]);
    let listenfd = sockets(server.pid());
    assert_eq!(listenfd.len(), 1);
    assert_eq!(listening(server.addr.port())[0].inode, listenfd[0]);

    let clients: Vec<_> = (0..5).map(|_| server.client()).collect();

    let connfds: HashSet<_> = clients
        .iter()
        .flat_map(|(_, child)| sockets(*child))
        .collect();
    assert_eq!(connfds.len(), 5);
    wait_until("the parent to hold what it held", || {
        sockets(server.pid()) == listenfd
    });
}

#[test]
fn s6_one_child_a_client_and_none_waits_for_another() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let children: HashSet<_> = clients.iter().map(|(_, child)| *child).collect();
    assert_eq!(children, server.children().into_iter().collect());
    assert_eq!(children.len(), 4);

    let (first, child) = &mut clients[0];
    let still = stop(*child);
    first.write_all(b"later\n").unwrap();
    for (stream, _) in clients[1..].iter_mut().rev() {
        assert_eq!(echo(stream, b"at once\n"), b"at once\n");
    }
    assert!(silent(&clients[0].0));
    drop(still);
    let mut line = [0; 6];
    clients[0].0.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"later\n");
}

#[test]
fn s7_the_child_holds_connfd_and_not_listenfd_the_parent_the_reverse() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let listenfd = listening(server.addr.port())[0].inode;
    let connfd = connection(server.addr, client).unwrap().inode;

    wait_reading_socket(child);
    assert_eq!(sockets(child), [connfd]);
    wait_accepting(server.pid());
    assert_eq!(sockets(server.pid()), [listenfd]);
}

#[test]
fn s8_the_parents_close_sends_no_fin_the_child_holds_a_reference() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let connfd = connection(server.addr, client).unwrap().inode;
    wait_accepting(server.pid());

    assert!(
        !sockets(server.pid()).contains(&connfd),
        "the parent has closed it"
    );
    assert!(sockets(child).contains(&connfd));
    assert_eq!(tcp_state(server.addr, client), Some("ESTABLISHED"));
    assert_eq!(tcp_state(client, server.addr), Some("ESTABLISHED"));
    assert!(silent(&stream));
}

#[test]
fn s9_the_last_close_does_send_it() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    wait_accepting(server.pid());

    signal(child, Signal::SIGKILL);

    assert_eq!(rest(&mut stream), b"");
    wait_state(client, server.addr, "CLOSE_WAIT");
    wait_state(server.addr, client, "FIN_WAIT_2");
}

#[test]
fn s10_a_read_interrupted_by_a_signal_is_called_again() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    wait_reading_socket(child);
    let reads = io(child, "syscr");

    signal(child, Signal::SIGCHLD); // which it has a handler for

    wait_until("a read to end", || io(child, "syscr") == reads + 1);
    wait_reading_socket(child);
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
}

#[test]
fn d1_one_local_port_each_connection_told_apart_by_its_four_tuple() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..3).map(|_| server.client().0).collect();

    let port = server.addr.port();
    assert_eq!(listening(port).len(), 1);
    let at_server = connections()
        .into_iter()
        .filter(|row| row.local == server.addr);
    let remotes: HashSet<_> = at_server
        .filter(|row| row.state == "ESTABLISHED")
        .map(|row| row.remote)
        .collect();
    let expected = clients.iter().map(|stream| stream.local_addr().unwrap());
    assert_eq!(remotes, expected.collect());

    for (n, stream) in clients.iter_mut().enumerate() {
        stream.write_all(format!("for {n}\n").as_bytes()).unwrap();
    }
    for (n, stream) in clients.iter_mut().enumerate() {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(stream), format!("for {n}\n").as_bytes());
    }
}

#[test]
fn children_that_end_at_once_are_all_reaped_with_nobody_else_coming() {
    let server = Server::start(&[]);
    let clients: Vec<_> = (0..300).map(|_| connect(server.addr)).collect();
    wait_until("300 children", || server.children().len() == 300);

    let still = stop(server.pid()); // the signals become one
    drop(clients);
    wait_until("300 zombies", || {
        server
            .children()
            .iter()
            .all(|&pid| process_state(pid) == Some('Z'))
    });
    drop(still);

    wait_until("no zombie", || server.children().is_empty());
    assert!(server.said().is_empty());
}

#[test]
fn a_child_is_reaped_though_the_one_signal_tells_of_somebody_else() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();

    let still = stop(server.pid()); // the signals become one, and it is the first
    signal(server.pid(), Signal::SIGCHLD);
    drop(stream);
    wait_until("a zombie", || process_state(child) == Some('Z'));
    drop(still);

    wait_until("it to be reaped", || gone(child));
    assert!(server.said().is_empty());
}

#[test]
fn every_socket_is_closed_on_exec() {
    let server = Server::start(&[]);
    let (_stream, child) = server.client();
    let (client, _) = server.tcpcli();
    for pid in [server.pid(), child, client.pid()] {
        let all = descriptors(pid).into_iter();
        for (fd, link) in all.filter(|(_, link)| link.starts_with("socket:")) {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .unwrap();
            let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
            assert_ne!(flags & libc::O_CLOEXEC, 0, "{pid}: {fd} {link}");
        }
    }
}

#[test]
fn a_child_signal_that_was_blocked_at_its_start_still_arrives() {
    // What a careless parent hands down.
    let block = |command: &mut Command| -> Server {
        use std::os::unix::process::CommandExt;
        let blocked = || {
            let set = nix::sys::signal::SigSet::from(Signal::SIGCHLD);
            set.thread_block()?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes one system call, no more.
        Server::spawn(unsafe { command.pre_exec(blocked) })
    };
    let server = block(Command::new(TCPSERV).args(["-p", "0", "-b", "127.0.0.1"]));
    let (stream, child) = server.client();
    drop(stream);
    wait_until("the child to be reaped", || gone(child));
}

#[test]
fn it_prints_nothing_on_standard_output() {
    let mut server = Server::start(&[]);
    assert_eq!(
        Client::start(server.addr, &[]).feed(b"hello\n").stdout,
        b"hello\n"
    );
    server.end(Signal::SIGTERM);
    assert_eq!(server.printed(), b"");
}
