//! TCP输出, close函数, 四次挥手: what write and close leave to the kernel.

mod common;

use common::*;
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};

#[test]
fn o1_write_returns_when_the_bytes_are_in_the_send_buffer() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    let reads = io(child, "rchar");
    let still = stop(child);

    client.type_in(b"hello\n");

    wait_asleep(client.pid()); // past Writen, on to Readline
    let row = connection(server.addr, addr).unwrap();
    assert_eq!(row.rx_queue, 6, "at the server's kernel");
    assert_eq!(io(child, "rchar"), reads, "and not read");
    drop(still);
    assert_eq!(client.printed(6), b"hello\n");
}

#[test]
fn o2_a_full_send_buffer_puts_the_writer_to_sleep_and_nothing_is_lost() {
    let server = Server::start(&[]);
    let (stream, child) = server.client();
    let mut sender = stream.try_clone().unwrap();
    let total = 32 << 20;
    let feeder = std::thread::spawn(move || {
        sender.write_all(&pattern(total)).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });

    wait_writing_socket(child); // while we read nothing
    let row = connection(server.addr, stream.local_addr().unwrap()).unwrap();
    assert!(row.tx_queue > 0);

    let mut stream = stream;
    assert!(rest(&mut stream) == pattern(total));
    feeder.join().unwrap();
}

#[test]
fn o3_close_returns_at_once_though_data_is_queued_and_all_of_it_arrives_before_the_fin() {
    let server = Server::start(&[]);
    let mut stream = narrow(server.addr);
    let client = stream.local_addr().unwrap();
    let child = server.child_for(client);
    let sent = pattern(100_000);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();

    // The child closes by its exit, and is gone.
    wait_until("the child to be gone", || gone(child));
    let row = connection(server.addr, client).unwrap();
    // Its FIN is behind the data, the client's was before: it has both to send.
    assert_eq!((row.state, row.inode), ("LAST_ACK", 0));
    assert!(row.tx_queue > 0, "the kernel has still to deliver");

    assert!(rest(&mut stream) == sent);
    wait_state(server.addr, client, None);
}

#[test]
fn h1_half_close_the_server_still_sends_and_the_client_still_reads() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    let still = stop(child);

    client.type_in(b"the last words, without a newline");
    client.end_input();

    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_state(server.addr, addr, "CLOSE_WAIT");
    drop(still);
    let ended = client.wait();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout, b"the last words, without a newline");
}

#[test]
fn h1_all_that_was_under_way_comes_after_the_clients_fin() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    wait_reading_socket(child);
    let still = stop(child);
    let sent = pattern(50_000);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    wait_state(server.addr, client, "CLOSE_WAIT");
    wait_state(client, server.addr, "FIN_WAIT_2");

    drop(still);
    assert!(rest(&mut stream) == sent);
    wait_state(client, server.addr, "TIME_WAIT");
}

/// Bytes that tell where they belong.
fn pattern(n: usize) -> Vec<u8> {
    (0..n as u32 / 4 + 1)
        .flat_map(u32::to_be_bytes)
        .take(n)
        .collect()
}

/// A client with a small receive buffer, so that most of an echo waits at the server.
fn narrow(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.into()).unwrap();
    with_deadline(socket.into())
}
