//! The kernel's table of TCP connections: /proc/net/tcp and tcp6.

use super::*;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug)]
pub struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: &'static str,
    /// Bytes sent but not yet acknowledged.
    pub tx_queue: u64,
    /// Bytes received but not yet read; for a listening socket, connections not yet accepted.
    pub rx_queue: u64,
    /// The timer that is running (2 keepalive, 3 TIME_WAIT), and the time until it expires.
    pub timer: u8,
    pub expires: Duration,
    /// 0 if no process holds the socket.
    pub inode: u64,
}

/// `ESTABLISHED 127.0.0.1:9877 to 127.0.0.1:40000 Recv-Q 6 Send-Q 0`
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Connection { local, remote, .. } = self;
        write!(f, "{:11} {local} to {remote} ", self.state)?;
        write!(f, "Recv-Q {} Send-Q {}", self.rx_queue, self.tx_queue)?;
        let timer = match self.timer {
            1 => "retransmits",
            3 => "expires",
            4 => "probes",
            _ => return Ok(()), // no timer, or keepalive
        };
        write!(f, ", {timer} in {:.2} s", self.expires.as_secs_f64())
    }
}

/// The states in the order of their numbers in the kernel, starting at 1.
pub const STATES: &str = "ESTABLISHED SYN_SENT SYN_RCVD FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED \
    CLOSE_WAIT LAST_ACK LISTEN CLOSING SYN_RCVD";

/// The rows with this port at either end.
pub fn connections(port: u16) -> Vec<Connection> {
    rows(&format!(":{port:04X} "))
}

/// Parses only the rows that contain this text, because a benchmark may leave 50,000 others.
fn rows(text: &str) -> Vec<Connection> {
    let mut rows = Vec::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        // A kernel without IPv6 has no tcp6 file.
        let table = fs::read_to_string(file).unwrap_or_default();
        let found = table.lines().filter(|line| line.contains(text));
        rows.extend(found.map(row));
    }
    rows
}

fn row(line: &str) -> Connection {
    let fields: Vec<_> = line.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let pair = |text: &str| {
        let (one, other) = text.split_once(':').unwrap();
        (hex(one), hex(other))
    };
    let (tx_queue, rx_queue) = pair(fields[4]);
    let (timer, ticks) = pair(fields[5]);
    Connection {
        local: address(fields[1]),
        remote: address(fields[2]),
        state: STATES.split(' ').nth(hex(fields[3]) as usize - 1).unwrap(),
        tx_queue,
        rx_queue,
        timer: timer as u8,
        expires: Duration::from_millis(ticks * 10), // USER_HZ is 100
        inode: fields[9].parse().unwrap(),
    }
}

/// Parses an address such as `0100007F:2695`, with words in host byte order. Converts an
/// IPv4-mapped IPv6 address to IPv4.
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let mut bytes = Vec::new();
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).unwrap(), 16).unwrap();
        bytes.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).unwrap()).to_canonical(),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

/// One end of a connection: the row from `local` to `remote`.
pub fn connection(local: SocketAddr, remote: SocketAddr) -> Option<Connection> {
    let this = |row: &Connection| row.local == local && row.remote == remote;
    connections(local.port()).into_iter().find(this)
}

/// A client process's only connection.
pub fn connection_of(client: Pid) -> Option<Connection> {
    sockets(client).into_iter().find_map(|inode| {
        let rows = rows(&format!(" {inode} ")).into_iter();
        rows.into_iter().find(|row| row.inode == inode)
    })
}

/// The state of one end of a connection, or `None` if the kernel has dropped it.
pub fn tcp_state(local: SocketAddr, remote: SocketAddr) -> Option<&'static str> {
    connection(local, remote).map(|row| row.state)
}

/// Shows one end of a connection, and returns its state.
pub fn show_state(local: SocketAddr, remote: SocketAddr) -> Option<&'static str> {
    let row = connection(local, remote);
    match &row {
        Some(row) => show(row),
        None => show(format_args!("CLOSED      {local} to {remote}")),
    }
    row.map(|row| row.state)
}

/// Waits until one end of a connection is in the given state, or is gone (`None`).
pub fn wait_state<'a>(local: SocketAddr, remote: SocketAddr, state: impl Into<Option<&'a str>>) {
    let state = state.into();
    let what = format!("the connection from {local} to {remote} to reach {state:?}");
    wait_until(what, || tcp_state(local, remote) == state);
    show_state(local, remote);
}

/// Waits until `bytes` unread bytes are in the receive buffer of `local`.
pub fn wait_received(local: SocketAddr, remote: SocketAddr, bytes: u64) {
    let what = format!("{bytes} unread bytes from {remote} at {local}");
    wait_until(what, || {
        connection(local, remote).is_some_and(|row| row.rx_queue == bytes)
    });
    show_state(local, remote);
}

pub fn listening(port: u16) -> Vec<Connection> {
    let its = |row: &Connection| row.state == "LISTEN" && row.local.port() == port;
    connections(port).into_iter().filter(its).collect()
}

/// The length of a port's completed connection queue.
pub fn queued(port: u16) -> u64 {
    listening(port)[0].rx_queue
}

/// Shows the length of a port's completed connection queue.
pub fn show_queue(port: u16) {
    show(format_args!("completed connection queue: {}", queued(port)));
}

/// Waits until a process listens, and returns its address.
pub fn listening_address(pid: Pid) -> SocketAddr {
    wait_while_alive(pid, "the server to listen", || {
        let inodes = sockets(pid);
        let its = |row: &Connection| row.state == "LISTEN" && inodes.contains(&row.inode);
        rows(" 0A ").into_iter().find(its).map(|row| row.local)
    })
}
