//! The test's own end of a connection.

use super::*;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::ErrorKind;

/// Connects to a server. No call on the stream waits longer than the deadline.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
    show(format_args!("connected: {}", stream.local_addr().unwrap()));
    with_deadline(stream)
}

/// Accepts a connection.
pub fn accept(listener: &TcpListener) -> TcpStream {
    let listenfd = SockRef::from(listener);
    listenfd.set_read_timeout(Some(DEADLINE)).unwrap();
    with_deadline(listener.accept().unwrap().0)
}

pub fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Bytes that reveal gaps and reordering, because no buffer length is a multiple of 251.
pub fn pattern(n: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(n / 251 + 1);
    bytes.truncate(n);
    bytes
}

/// `n` different lines.
pub fn lines(n: u64) -> String {
    let line = |n| format!("line {n}\n");
    (0..n).map(line).collect()
}

/// Sends the bytes and reads the same number back.
pub fn echo(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    read_bytes(stream, bytes.len())
}

pub fn read_bytes(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Sends the bytes and a FIN from a thread, so that the caller can read the echo.
pub fn send_all(stream: &TcpStream, bytes: &[u8]) -> JoinHandle<()> {
    let (mut stream, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
    thread::spawn(move || {
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    })
}

/// Reads everything up to end of file.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Whether there is nothing to read now, neither data nor end of file.
pub fn silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(why) if why.kind() == ErrorKind::WouldBlock)
}

/// Closes a connection with an RST instead of a FIN.
pub fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    SockRef::from(&stream).set_linger(linger).unwrap();
}

/// Sends until the kernel stops accepting data, and returns the number of bytes sent.
pub fn fill(stream: &mut TcpStream) -> usize {
    let piece = [b'x'; 64 * 1024];
    let mut sent = 0;
    stream.set_nonblocking(true).unwrap();
    let mut refused = 0;
    let start = Instant::now();
    while refused < 50 {
        assert!(start.elapsed() < DEADLINE, "the peer keeps reading");
        match stream.write(&piece) {
            Ok(n) => (sent, refused) = (sent + n, 0),
            Err(why) => {
                assert_eq!(why.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(2));
                refused += 1;
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
    show(format_args!("write accepted {sent} bytes, then no more"));
    sent
}

/// Connects with a receive buffer of about this size. A small buffer leaves most of an echo at the
/// server.
pub fn connect_with_buffer(server: SocketAddr, size: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(size).unwrap();
    socket.connect(&server.into()).unwrap();
    with_deadline(socket.into())
}
