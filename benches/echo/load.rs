//! The load: clients of the benchmark's own, the same for every server.

use crate::common::DEADLINE;
use crate::process::{OneCore, Server};
use crate::report::median;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

/// A line of 64 bytes, with its newline.
pub const LINE: [u8; 64] = {
    let mut line = [b'x'; 64];
    line[63] = b'\n';
    line
};

/// How much is sent at a time in bulk.
pub const PIECE: usize = 256 * 1024;

/// A connected stream that does not wait for ever.
fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Sends a line and takes it back.
fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut echoed = [0; LINE.len()];
    stream.write_all(&LINE)?;
    stream.read_exact(&mut echoed)
}

/// Connects until so many are held, each with a line behind it.
pub fn hold(server: &Server, held: &mut Vec<TcpStream>, size: usize) -> io::Result<()> {
    while held.len() < size {
        let mut stream = connect(server.addr(held.len()))?;
        echo(&mut stream)?;
        held.push(stream);
    }
    Ok(())
}

/// A connected client with a line behind it.
pub fn client(server: &Server) -> TcpStream {
    let mut one = Vec::new();
    hold(server, &mut one, 1).unwrap_or_else(|why| panic!("a client: {why}"));
    one.remove(0)
}

/// A whole connection: a line, its echo, the FIN, and the child's, which it sends when
/// it ends. So TIME_WAIT is on this side.
fn visit(addr: SocketAddr) -> io::Result<()> {
    let mut stream = connect(addr)?;
    echo(&mut stream)?;
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more came back than was sent")),
    }
}

/// So many connections by so many clients at a time, in connections per second.
pub fn connections(server: &Server, clients: usize, n: usize) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || {
                for n in (client..n).step_by(clients) {
                    visit(server.addr(n)).unwrap_or_else(|why| panic!("connection {n}: {why}"));
                }
            });
        }
    });
    n as f64 / start.elapsed().as_secs_f64()
}

/// The time of a line and its echo, in µs, on one core with the server's child: the
/// median of so many.
pub fn round_trip(server: &Server, n: usize) -> f64 {
    let _one_core = OneCore::with(server);
    let mut stream = client(server);
    let one = |_| {
        let start = Instant::now();
        echo(&mut stream).unwrap_or_else(|why| panic!("a line's echo: {why}"));
        start.elapsed().as_secs_f64() * 1e6
    };
    median((0..n).map(one))
}

/// So many pieces of 256 KiB there and, at the same time, back, in GB/s.
pub fn bulk(server: &Server, pieces: usize) -> f64 {
    let stream = client(server);
    let piece = vec![b'x'; PIECE];
    let (mut sender, mut receiver) = (&stream, &stream);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = (0..pieces).map(|_| sender.write_all(&piece));
            sent.try_for_each(|sent| sent)
                .unwrap_or_else(|why| panic!("bulk, there: {why}"));
        });
        let mut echoed = vec![0; PIECE];
        let mut left = pieces * PIECE;
        while left > 0 {
            left -= match receiver.read(&mut echoed) {
                Ok(n @ 1..) => n,
                other => panic!("bulk: {other:?}, {left} bytes before its end"),
            };
        }
    });
    (pieces * PIECE) as f64 / start.elapsed().as_secs_f64() / 1e9
}
