//! When things go wrong: the kernel or a sandbox refuses a call.

mod common;

use common::*;
use nix::unistd::Uid;
use std::fs::File;
use std::io::Seek;

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let server = Server::start(&[]);
    let ended = run(&mut tcpserv("127.0.0.1", server.addr.port()));
    let why = reason(Errno::EADDRINUSE);
    ended.failed(&format!("tcpserv: bind error: {}: {why}", server.addr));
    server.client(); // the first server still serves
}

/// The process limit does not apply to root. As root, a filter makes every fork fail, so there are
/// no other clients.
#[test]
fn when_fork_fails_the_client_is_disconnected_and_the_others_are_served() {
    let is_root = Uid::effective().is_root();
    let mut command = tcpserv("127.0.0.1", 0);
    command.args(["--max-clients", "2"]); // a refused client is not counted
    if is_root {
        refuse(&mut command, FORKS, libc::EAGAIN);
    }
    let server = Server::spawn(&mut command);
    let mut others = Vec::new();
    if !is_root {
        others.push(server.client().0);
        set_limit(server.pid(), Resource::NPROC, 0);
    }

    for _ in 0..3 {
        let mut refused = connect(server.addr);
        let client = refused.local_addr().unwrap();
        assert_eq!(rest(&mut refused), b"");
        let why = reason(Errno::EAGAIN);
        server.wait_line(&format!("tcpserv: {client}: fork error: {why}"));
    }
    for other in &mut others {
        assert_eq!(echo(other, b"hello\n"), b"hello\n");
    }
}

/// Waits until the server has retried several times, with sleeps in between, and checks that it
/// prints only one message.
fn tries_accept_again(server: &Server, errno: Errno) {
    let why = reason(errno);
    server.wait_line(&format!("tcpserv: accept error: {why}"));
    let sleeps = || status(server.pid()).voluntary_ctxt_switches.unwrap();
    let before = sleeps();
    wait_until("more attempts", || sleeps() > before + 5);
    assert_eq!(server.said().len(), 1);
}

#[test]
fn without_a_free_descriptor_the_server_waits_for_one() {
    let server = Server::start(&[]);
    let (mut other, _) = server.client();
    // The accept call in which the server is blocked has already reserved a descriptor.
    wait_accepting(server.pid());
    let before = set_limit(server.pid(), Resource::NOFILE, 1);
    let (mut last, _) = server.client();
    let mut waiting = [connect(server.addr), connect(server.addr)];

    tries_accept_again(&server, Errno::EMFILE);
    for stream in [&mut other, &mut last] {
        assert_eq!(echo(stream, b"hello\n"), b"hello\n");
    }
    assert!(silent(&waiting[0]) && silent(&waiting[1]));

    set_limit(server.pid(), Resource::NOFILE, before);
    for stream in &mut waiting {
        assert_eq!(echo(stream, b"at last\n"), b"at last\n");
    }
    assert_eq!(server.said().len(), 1);
}

/// Binding a port below 1024 requires a privilege.
#[test]
fn a_bind_without_the_privilege_is_reported() {
    let mut command = tcpserv("127.0.0.1", 0);
    refuse(&mut command, &[libc::SYS_bind], libc::EACCES);
    let why = reason(Errno::EACCES);
    run(&mut command).failed(&format!("tcpserv: bind error: 127.0.0.1:0: {why}"));
}

#[test]
fn an_accept_that_a_sandbox_refuses_is_reported_once_and_retried() {
    let mut command = tcpserv("127.0.0.1", 0);
    refuse(&mut command, &[libc::SYS_accept4], libc::EPERM);
    tries_accept_again(&Server::spawn(&mut command), Errno::EPERM);
}

#[test]
fn tcpcli_reports_that_it_cannot_create_a_socket_or_a_thread() {
    let server = Server::start(&[]);
    let no_socket = (&[libc::SYS_socket][..], "socket error: AF_INET");
    let no_thread = (FORKS, "pthread_create error");
    for (args, (calls, said)) in [(&[][..], no_socket), (&["--batch"], no_thread)] {
        let mut command = tcpcli(server.addr);
        refuse(command.args(args), calls, libc::EAGAIN);
        run(&mut command).failed(&format!("tcpcli: {said}: {}", reason(Errno::EAGAIN)));
    }
}

#[test]
fn unreadable_input_and_a_full_disk_are_reported() {
    let server = Server::start(&[]);
    let directory = ("fgets error: standard input", Errno::EISDIR);
    let full_disk = ("fputs error: standard output", Errno::ENOSPC);
    for args in [&[][..], &["--batch"]] {
        let mut line = memory_file();
        line.write_all(b"hello\n").unwrap();
        line.rewind().unwrap();
        for (input, output, (said, errno)) in [
            (File::open("/").unwrap(), "/dev/null", directory),
            (line, "/dev/full", full_disk),
        ] {
            let output = File::options().write(true).open(output).unwrap();
            let ended = Program::spawn(tcpcli(server.addr).args(args), input, output).wait();
            ended.failed(&format!("tcpcli: {said}: {}", reason(errno)));
        }
    }
}
