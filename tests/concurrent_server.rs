//! 服务器端, 并发服务器: a parent that accepts, a child for each client.

mod common;

use common::*;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn s1_inaddr_any_is_reached_through_any_address_of_the_host() {
    let mut command = Command::new(TCPSERV); // without --bind
    let server = Server::spawn(command.args(["--port", "0"]));
    let port = server.addr.port();
    assert_eq!(server.addr.to_string(), format!("0.0.0.0:{port}"));
    assert_eq!(listening(port)[0].local, server.addr);
    for ip in ["127.0.0.1", "127.0.0.2", "127.200.30.4"] {
        let addr = SocketAddr::new(ip.parse().unwrap(), port);
        let client = Program::tcpcli(addr, &[]);
        client.feed(b"hello\n").succeeded(b"hello\n");
    }
}

#[test]
fn s2_an_address_that_is_not_the_hosts_own_is_refused() {
    // Of a block that is reserved for documentation, so no host has it.
    let ended = run(&mut tcpserv("203.0.113.1", 0));
    let why = reason(Errno::EADDRNOTAVAIL);
    ended.failed(&format!("tcpserv: bind error: 203.0.113.1:0: {why}"));
    assert!(ended.stdout.is_empty());
}

#[test]
fn s4_the_parent_sleeps_in_accept_while_no_client_comes() {
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
    wait_accepting(server.pid());
    assert_eq!(sockets(server.pid()), listenfd);
}

#[test]
fn s6_one_child_for_each_client_and_no_client_waits_for_another() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let children: HashSet<_> = clients.iter().map(|(_, child)| *child).collect();
    assert_eq!(children, server.children().into_iter().collect());
    assert_eq!(children.len(), 4);

    let (first, child) = &mut clients[0];
    let stopped = stop(*child);
    first.write_all(b"later\n").unwrap();
    for (stream, _) in clients[1..].iter_mut().rev() {
        assert_eq!(echo(stream, b"at once\n"), b"at once\n");
    }
    let (first, _) = &mut clients[0];
    assert!(silent(first));
    stopped.go_on();
    assert_eq!(read_bytes(first, 6), b"later\n");
}

#[test]
fn s7_the_child_holds_only_connfd_and_the_parent_only_listenfd() {
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
fn s8_the_parents_close_sends_no_fin_because_the_child_holds_a_reference() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let connfd = connection(server.addr, client).unwrap().inode;
    wait_accepting(server.pid());

    let parent_holds = sockets(server.pid());
    assert!(!parent_holds.contains(&connfd), "the parent has closed it");
    assert!(sockets(child).contains(&connfd));
    assert_eq!(tcp_state(server.addr, client), Some("ESTABLISHED"));
    assert_eq!(tcp_state(client, server.addr), Some("ESTABLISHED"));
    assert!(silent(&stream));
}

#[test]
fn s9_the_close_of_the_last_reference_sends_the_fin() {
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

    signal(child, Signal::SIGCHLD); // for which it has a handler

    let interrupted = || (io(child, "syscr") == reads + 1).then_some(());
    wait_while_alive(child, "the read to return", interrupted);
    wait_reading_socket(child);
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
}

#[test]
fn a_write_interrupted_by_a_signal_is_called_again() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let sent = fill(&mut stream);
    // The first may have written a part of its bytes, and returns their number.
    for _ in 0..3 {
        wait_writing_socket(child);
        let writes = io(child, "syscw");
        signal(child, Signal::SIGCHLD);
        let interrupted = || (io(child, "syscw") > writes).then_some(());
        wait_while_alive(child, "the write to return", interrupted);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream).len(), sent);
}

#[test]
fn d1_the_four_tuple_identifies_each_connection_at_the_one_local_port() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..3).map(|_| server.client().0).collect();

    let port = server.addr.port();
    assert_eq!(listening(port).len(), 1);
    let at_server = connections(port)
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
fn children_that_end_at_the_same_time_are_all_reaped() {
    const CLIENTS: usize = 50;
    let server = Server::start(&[]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr)).collect();
    server.wait_children(CLIENTS);

    let stopped = stop(server.pid()); // so that several signals become one
    let children = server.children();
    drop(clients);
    wait_until("the end of all children", || {
        children.iter().all(|&child| ended(child))
    });
    assert_eq!(server.children().len(), CLIENTS);
    stopped.go_on();

    server.wait_children(0);
    assert!(server.said().is_empty());
}

#[test]
fn a_child_is_reaped_also_when_the_signal_came_from_another_process() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();

    let stopped = stop(server.pid());
    signal(server.pid(), Signal::SIGCHLD); // it waits, and the child's becomes one with it
    drop(stream);
    wait_until("a zombie", || process_state(child) == Some('Z'));
    stopped.go_on();

    wait_until("the child to be reaped", || gone(child));
    assert!(server.is_alive());
    assert!(server.said().is_empty());
}

#[test]
fn every_socket_is_closed_on_exec() {
    let server = Server::start(&[]);
    let (_stream, child) = server.client();
    let (client, _) = server.tcpcli();
    for pid in [server.pid(), child, client.pid()] {
        let own = sockets(pid);
        assert!(!own.is_empty());
        for (fd, link) in descriptors(pid) {
            if own.iter().any(|inode| link == format!("socket:[{inode}]")) {
                let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
                let mut lines = info.lines();
                let flags = lines.find_map(|line| line.strip_prefix("flags:"));
                let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
                assert_ne!(flags & libc::O_CLOEXEC, 0, "{pid}: {fd} {link}");
            }
        }
    }
}

#[test]
fn children_are_reaped_although_sigchld_was_blocked_at_the_servers_start() {
    let block = || Ok(SigSet::from(Signal::SIGCHLD).thread_block()?);
    let mut command = tcpserv("127.0.0.1", 0);
    // SAFETY: between fork and exec it makes one system call, no more.
    let server = Server::spawn(unsafe { command.pre_exec(block) });
    let (stream, child) = server.client();
    drop(stream);
    wait_until("the child to be reaped", || gone(child));
    assert!(server.is_alive());
}

#[test]
fn the_server_prints_nothing_on_standard_output() {
    let mut server = Server::start(&[]);
    let client = Program::tcpcli(server.addr, &[]);
    client.feed(b"hello\n").succeeded(b"hello\n");
    server.end(Signal::SIGTERM);
    assert_eq!(server.all_output(), b"");
}
