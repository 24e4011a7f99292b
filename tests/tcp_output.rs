//! TCP输出, close函数, 四次挥手: what write and close leave to the kernel.

mod common;

use common::*;

#[test]
fn o1_f12_write_returns_when_the_bytes_are_in_the_send_buffer() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    wait_reading_socket(child);
    let reads = io(child).rchar;
    let stopped = stop(child);

    client.type_in(b"hello\n");

    wait_received(server.addr, client.addr(), 6);
    wait_reading_socket(client.pid()); // so write has returned
    assert_eq!(io(child).rchar, reads, "the child has read nothing");
    show("write has returned; the child has read nothing");
    show_state(client.addr(), server.addr);
    stopped.go_on();
    assert_eq!(client.next_output(6), b"hello\n");
}

/// With a larger buffer, bulk transfer needs fewer calls.
#[test]
fn a_client_that_fills_the_childs_buffer_gets_a_larger_one() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    wait_reading_socket(child);
    let reads = io(child).syscr;
    let stopped = stop(child);
    stream.write_all(&pattern(60_000)).unwrap();
    wait_received(server.addr, stream.local_addr().unwrap(), 60_000);
    stopped.go_on();
    assert!(read_bytes(&mut stream, 60_000) == pattern(60_000));
    wait_reading_socket(child);
    let reads = io(child).syscr - reads;
    assert!(reads < 60_000 / 4096, "{reads} reads"); // a read is counted when it returns
}

#[test]
fn o2_a_full_send_buffer_blocks_the_writer_and_nothing_is_lost() {
    let server = Server::start(&[]);
    let (mut stream, child) = server.client();
    let client = stream.local_addr().unwrap();
    let filled = fill(&mut stream); // the client reads nothing

    // Signals interrupt the write, which is then restarted.
    for _ in 0..3 {
        wait_writing_socket(child);
        let writes = io(child).syscw;
        signal(child, Signal::SIGCHLD);
        wait_until("the write to return", || io(child).syscw > writes);
    }
    wait_writing_socket(child);
    show_state(client, server.addr);
    show_state(server.addr, client);
    assert!(connection(server.addr, client).unwrap().tx_queue > 0);
    // Other clients are not delayed.
    assert_eq!(echo(&mut connect(server.addr), b"hello\n"), b"hello\n");

    let more = pattern(1 << 20);
    let feeder = send_all(&stream, &more);
    assert!(rest(&mut stream) == [vec![b'x'; filled], more].concat());
    show(format_args!("all {} bytes came back", filled + (1 << 20)));
    feeder.join().unwrap();
}

#[test]
fn o3_close_returns_at_once_though_data_is_queued_and_all_of_it_arrives_before_the_fin() {
    let server = Server::start(&[]);
    let mut stream = connect_with_buffer(server.addr, 4096);
    let client = stream.local_addr().unwrap();
    let child = server.child_for(client);
    let sent = pattern(100_000);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();

    // The child's exit closes the connection.
    wait_until("the child to be reaped", || gone(child));
    let row = connection(server.addr, client).unwrap();
    show("the child has exited, but the kernel still has data to send:");
    show(&row);
    // The client's FIN has arrived. The server's FIN follows data that does not fit into the
    // client's small receive buffer.
    assert_eq!((row.state, row.inode), ("LAST_ACK", 0));
    assert!(row.tx_queue > 0, "the kernel still has data to send");

    assert!(rest(&mut stream) == sent);
    show("all 100000 bytes arrived before the FIN");
    wait_state(server.addr, client, None);
}

#[test]
fn h1_half_close_the_server_still_sends_and_tcpcli_still_reads() {
    let server = Server::start(&[]);
    let (mut client, child) = server.tcpcli();
    let addr = client.addr();
    wait_reading_socket(child);
    let stopped = stop(child);

    client.type_in(b"the last words, without a newline");
    client.ctrl_d();

    // The FIN arrives before the child has read anything.
    wait_state(addr, server.addr, "FIN_WAIT_2");
    wait_state(server.addr, addr, "CLOSE_WAIT");
    stopped.go_on();
    let ended = client.wait();
    ended.succeeded(b"the last words, without a newline");
}
