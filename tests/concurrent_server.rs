//! 服务器端, 并发服务器: a parent that accepts, and a child for each client.

mod common;

use common::*;
use nix::sys::signal::SigSet;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;

#[test]
fn s1_inaddr_any_is_reached_through_any_address_of_the_host() {
    // No --bind is given, and the last --port takes effect.
    let mut command = Command::new(TCPSERV);
    let server = Server::spawn(command.args(["--port", "1", "--port", "0"]));
    let port = server.addr.port();
    assert_eq!(server.addr, SocketAddr::from(([0, 0, 0, 0], port)));
    for ip in ["127.0.0.1", "127.0.0.2", "127.200.30.4"] {
        let mut stream = connect(SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
    }
}

#[test]
fn s2_an_address_that_is_not_the_hosts_own_is_refused() {
    // This address is reserved for documentation, so no host uses it.
    let ended = run(&mut tcpserv("203.0.113.1", 0));
    let why = reason(Errno::EADDRNOTAVAIL);
    ended.failed(&format!("tcpserv: bind error: 203.0.113.1:0: {why}"));
}

#[test]
fn s3_s4_s5_s7_s8_the_child_holds_only_connfd_the_parent_only_listenfd_and_its_close_sends_no_fin()
{
    let server = Server::start(&[]);
    wait_accepting(server.pid());
    let listenfd = listening(server.addr.port())[0].inode;
    let mut connfds = HashSet::new();
    let clients = [(); 3].map(|()| server.client());
    for (stream, child) in &clients {
        let client = stream.local_addr().unwrap();
        let connfd = connection(server.addr, client).unwrap().inode;
        wait_reading_socket(*child); // so the child has closed listenfd
        assert_eq!(sockets(*child), [connfd]);
        connfds.insert(connfd);
        wait_accepting(server.pid()); // so the parent has closed connfd
        assert_eq!(sockets(server.pid()), [listenfd]);
        assert_eq!(listening(server.addr.port())[0].inode, listenfd);
        assert_eq!(tcp_state(server.addr, client), Some("ESTABLISHED"));
        assert_eq!(tcp_state(client, server.addr), Some("ESTABLISHED"));
        assert!(silent(stream));
    }
    assert_eq!(connfds.len(), clients.len());
}

#[test]
fn s6_one_child_for_each_client_and_no_client_waits_for_another() {
    let server = Server::start(&[]);
    let [(mut first, child), others @ ..] = [(); 4].map(|()| server.client());
    assert_eq!(server.children().len(), 4);
    let stopped = stop(child);
    first.write_all(b"later\n").unwrap();
    for (mut stream, _) in others {
        assert_eq!(echo(&mut stream, b"at once\n"), b"at once\n");
    }
    assert!(silent(&first));
    stopped.go_on();
    assert_eq!(read_bytes(&mut first, 6), b"later\n");
}

#[test]
fn s10_a_read_interrupted_by_a_signal_is_restarted() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    wait_reading_socket(child);
    let reads = io(child).syscr;

    signal(child, Signal::SIGCHLD); // the child inherits the handler

    wait_until("the read to return", || io(child).syscr == reads + 1);
    wait_reading_socket(child);
    assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
}

#[test]
fn children_that_exit_together_are_all_reaped_even_if_sigchld_was_blocked_at_startup() {
    const CLIENTS: usize = 50;
    let mut command = tcpserv("127.0.0.1", 0);
    // SAFETY: the child makes only one system call before exec.
    unsafe { command.pre_exec(|| Ok(SigSet::from(Signal::SIGCHLD).thread_block()?)) };
    let server = Server::spawn(&mut command);
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(server.addr)).collect();
    server.wait_children(CLIENTS);

    let stopped = stop(server.pid()); // so that several signals merge into one
    let children = server.children();
    drop(clients);
    let all_ended = || children.iter().all(|&child| ended(child));
    wait_until("all children to terminate", all_ended);
    assert_eq!(server.children().len(), CLIENTS);
    stopped.go_on();

    server.wait_children(0);
    assert!(server.said().is_empty());
}
