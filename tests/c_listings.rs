//! Tests of "From the C listings" in src/doc/differences.md: plain C like the listings
//! (benches/peers/plain.c) and the two programs behave as the table says.
//!
//! The tests are ignored if there is no C compiler.

mod common;

use common::*;
use nix::unistd::mkdtemp;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, process};

fn main() {
    let tests = tests![
        c_sends_a_long_line_in_pieces_of_4095_bytes,
        c_hangs_after_a_nul_byte_or_a_last_line_without_a_newline,
        c_prints_a_truncated_echo_as_a_line,
        between_two_pipes_c_holds_echoes_until_its_buffer_is_full_or_it_exits,
        sigpipe_kills_c_when_nobody_reads_its_output,
        with_its_output_closed_c_prints_to_the_server,
        children_stay_zombies_in_c,
        c_sets_no_socket_options,
        an_error_in_accept_terminates_c,
        an_error_in_fork_terminates_c,
    ];
    let compiled = PLAIN_C.as_ref().map(drop).map_err(Clone::clone);
    machine::run(machine::trials(&compiled, tests), 8);
}

/// The compiled C program: an open file, already unlinked, so nothing is left behind.
static PLAIN_C: LazyLock<Result<File, String>> = LazyLock::new(|| {
    // CARGO_TARGET_TMPDIR is not writable if another user built the tests.
    let parents = [env!("CARGO_TARGET_TMPDIR").into(), env::temp_dir()];
    let make = |parent: PathBuf| mkdtemp(&parent.join("c_listings.XXXXXX")).ok();
    let directory = parents.into_iter().find_map(make).unwrap();
    let program = directory.join("plain");
    let cc = env::var("CC").unwrap_or("cc".to_owned());
    let mut command = Command::new(&cc);
    command.args(["-DLISTING", "benches/peers/plain.c", "-o"]);
    let compiled = command.arg(&program).output();
    let file = File::open(program);
    fs::remove_dir_all(directory).unwrap();
    let said = compiled.map_err(|why| format!("{cc}: {why}"))?.stderr;
    Ok(file.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said))))
});

fn plain_c(args: &[&str]) -> Command {
    let file = PLAIN_C.as_ref().unwrap().as_raw_fd();
    let mut command = Command::new(format!("/proc/{}/fd/{file}", process::id()));
    command.args(args);
    command
}

fn c_server() -> Server {
    Server::spawn(&mut plain_c(&[]))
}

fn c_client(server: SocketAddr) -> Command {
    plain_c(&[&server.port().to_string()])
}

/// A function that returns the command to start a client: `c_client` or `tcpcli`.
type NewClient = fn(SocketAddr) -> Command;

fn start(mut client: Command) -> Program {
    Program::spawn(&mut client, Stdio::piped(), Stdio::piped())
}

/// Waits until the client has read `bytes` bytes of echo, and returns the child that sent them.
fn wait_echoed(client: &Program, server: &Server, bytes: u64) -> Pid {
    let (here, there) = (client.addr(), server.addr);
    let child = server.child_for(here);
    wait_while_alive(client.pid(), "the echo", || {
        let sent = io(child).wchar == bytes && connection(there, here)?.tx_queue == 0;
        (sent && connection(here, there)?.rx_queue == 0).then_some(())
    });
    child
}

/// The C client sends part of the input, then both ends wait. tcpcli prints the whole input.
fn c_hangs_after_a_nul_byte_or_a_last_line_without_a_newline() {
    for (input, sent) in [(&b"one\0two\n"[..], 3), (b"hello", 5)] {
        let server = c_server();
        let mut client = start(c_client(server.addr));
        client.type_in(input);
        client.ctrl_d();
        let child = wait_echoed(&client, &server, sent);
        wait_reading_socket(client.pid());
        wait_reading_socket(child);
        let (here, there) = (client.addr(), server.addr);
        let states = [tcp_state(here, there), tcp_state(there, here)];
        assert_eq!(states, [Some("ESTABLISHED"); 2]);

        let server = Server::start(&[]);
        start(tcpcli(server.addr)).feed(input).succeeded(input);
    }
    // A final piece of exactly 4095 bytes is handled like a line.
    let (server, piece) = (c_server(), [b'x'; 4095]);
    start(c_client(server.addr)).feed(&piece).succeeded(&piece);
}

fn c_sends_a_long_line_in_pieces_of_4095_bytes() {
    for (client, piece) in [(c_client as NewClient, 4095), (tcpcli, 4096)] {
        let (mut client, mut connfd) = Program::with_own_server(|addr| start(client(addr)));
        client.type_in(&[b'x'; 5000]);
        assert_eq!(connfd.read(&mut [0; 5000]).unwrap(), piece);
        wait_reading_socket(client.pid());
        assert!(silent(&connfd), "the rest waits for the echo");
    }
}

fn c_prints_a_truncated_echo_as_a_line() {
    let cut = |client: NewClient| {
        let (mut client, mut connfd) = Program::with_own_server(|addr| start(client(addr)));
        client.type_in(b"hello\n");
        assert_eq!(read_bytes(&mut connfd, 6), b"hello\n");
        connfd.write_all(b"hel").unwrap();
        client
    };
    let mut client = cut(c_client);
    wait_reading_input(client.pid()); // for the next line
    client.ctrl_d_and_wait().succeeded(b"hel");

    let ended = cut(tcpcli).wait();
    ended.terminated_prematurely();
    assert_eq!(ended.stdout, b"hel");
}

fn between_two_pipes_c_holds_echoes_until_its_buffer_is_full_or_it_exits() {
    let server = Server::start(&[]);
    let mut client = start(c_client(server.addr));
    client.type_in(b"one\n");
    wait_echoed(&client, &server, 4);
    wait_reading_input(client.pid());
    assert_eq!(io(client.pid()).wchar, 4, "the line, but no echo");
    let more = lines(1000);
    client.type_in(more.as_bytes());
    assert_eq!(client.next_output(4), b"one\n");
    client.ctrl_d_and_wait().succeeded(more.as_bytes());

    let mut client = start(tcpcli(server.addr));
    client.type_in(b"one\n");
    assert_eq!(client.next_output(4), b"one\n");
}

fn sigpipe_kills_c_when_nobody_reads_its_output() {
    let server = Server::start(&[]);
    for (client, status) in [(c_client as NewClient, libc::SIGPIPE), (tcpcli, 0)] {
        let mut client = start(client(server.addr));
        client.close_stdout();
        client.type_in(b"one\n");
        client.ctrl_d();
        assert_eq!(zombie_status(client.pid()), status);
        assert_eq!(client.wait().stderr, "");
    }
}

fn with_its_output_closed_c_prints_to_the_server() {
    let c = (c_client as NewClient, "socket:", &b"one\n"[..]);
    for (client, descriptor_1, printed) in [c, (tcpcli, "/dev/null", b"")] {
        let (mut client, mut connfd) = Program::with_own_server(|addr| {
            let client = client(addr);
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$0\" \"$@\" >&-"]);
            shell.arg(client.get_program()).args(client.get_args());
            start(shell)
        });
        client.type_in(b"one\n");
        assert_eq!(read_bytes(&mut connfd, 4), b"one\n");
        let is = fs::read_link(format!("/proc/{}/fd/1", client.pid())).unwrap();
        assert!(is.to_str().unwrap().starts_with(descriptor_1), "{is:?}");
        connfd.write_all(b"one\n").unwrap();
        client.ctrl_d();
        assert_eq!(rest(&mut connfd), printed);
    }
}

fn children_stay_zombies_in_c() {
    let visit = |server: &Server| {
        let (_, child) = server.client(); // the client disconnects at once
        wait_until("the child to terminate", || ended(child));
        child
    };
    let server = c_server();
    // The parent accepts the second client after the first child terminates.
    let children = [visit(&server), visit(&server)];
    assert_eq!(children.map(process_state), [Some('Z'); 2]);

    let server = Server::start(&[]);
    let child = visit(&server);
    wait_until("the child to be reaped", || gone(child));
}

fn c_sets_no_socket_options() {
    let in_time_wait = |server: Server, timer: u8| {
        let (mut stream, child) = server.client();
        let client = stream.local_addr().unwrap();
        let row = connection(server.addr, client).unwrap();
        assert_eq!(row.timer, timer); // 2 means keepalive
        signal(child, Signal::SIGKILL); // so the server performs the active close
        assert_eq!(rest(&mut stream), b"");
        wait_state(server.addr, client, "FIN_WAIT_2"); // a later ACK could end TIME_WAIT (RFC 1337)
        drop(stream);
        wait_state(server.addr, client, "TIME_WAIT");
        server.end(Signal::SIGTERM);
        server.addr.port()
    };
    let port = in_time_wait(c_server(), 0).to_string();
    run(&mut plain_c(&[&port, "serve"])).failed("bind error: Address already in use");
    let port = in_time_wait(Server::start(&[]), 2);
    Server::spawn(&mut tcpserv("127.0.0.1", port));
}

/// Waits until a server prints only these words and exits with status 1.
fn wait_failed(server: &Server, words: &str) {
    assert_eq!(zombie_status(server.pid()), 1 << 8);
    wait_until(words, || server.said() == [words]);
}

fn an_error_in_accept_terminates_c() {
    let no_descriptor = |server: &Server| {
        wait_asleep(server.pid()); // in accept, which has already reserved a descriptor
        let before = set_limit(server.pid(), Resource::NOFILE, 1);
        let mut stream = connect(server.addr);
        assert_eq!(echo(&mut stream, b"hello\n"), b"hello\n");
        before
    };
    let server = c_server();
    no_descriptor(&server);
    wait_failed(&server, "accept error: Too many open files");

    let server = Server::start(&[]);
    let before = no_descriptor(&server);
    server.wait_said("accept error");
    set_limit(server.pid(), Resource::NOFILE, before);
    assert_eq!(echo(&mut connect(server.addr), b"hello\n"), b"hello\n");
}

fn an_error_in_fork_terminates_c() {
    let no_child = |mut server: Command| {
        refuse(&mut server, FORKS, libc::EAGAIN);
        let server = Server::spawn(&mut server);
        assert_eq!(rest(&mut connect(server.addr)), b"");
        server
    };
    let server = no_child(plain_c(&[]));
    wait_failed(&server, "fork error: Resource temporarily unavailable");
    let server = no_child(tcpserv("127.0.0.1", 0));
    server.wait_said("fork error");
    assert_eq!(rest(&mut connect(server.addr)), b"");
}
