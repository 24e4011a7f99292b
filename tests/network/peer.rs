//! Plays the other host: sends segments, and compares the kernel's segments with those expected.

use crate::common::{show_at, show_state, wait_state};
use crate::namespace::{VETH0_MAC, VETH1_MAC};
use crate::wire::{Segment, Wire};
use etherparse::{PacketBuilder, TcpOptionElement};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses of both ends of the link.
pub const KERNEL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The other host's end of a connection. The kernel has the opposite end.
pub struct Peer {
    wire: Wire,
    pub addr: SocketAddr,
    pub kernel: SocketAddr,
    /// The peer's initial sequence number.
    pub isn: u32,
    /// The MSS that the peer's SYN announces.
    pub mss: u16,
    /// The last expected segment that arrived.
    last: Option<Segment>,
    /// A remark to show with the next segment.
    pub remark: &'static str,
}

impl Peer {
    /// Creates a client at this port that has not sent a segment yet.
    pub fn client(port: u16, server: SocketAddr) -> Peer {
        Peer {
            wire: Wire::listen(),
            addr: SocketAddr::from((OTHER_HOST, port)),
            kernel: server,
            isn: 1_000_000,
            mss: 1460,
            last: None,
            remark: "",
        }
    }

    /// Creates a client that has received the answer to its SYN.
    pub fn half_open(port: u16, server: SocketAddr) -> Peer {
        let mut peer = Peer::client(port, server);
        peer.send("SYN", 0, 0, b"");
        peer.expect("SYN ACK", 0, 1, b"");
        peer
    }

    /// Creates a connected client.
    pub fn connected(port: u16, server: SocketAddr) -> Peer {
        let mut peer = Peer::half_open(port, server);
        peer.send("ACK", 1, 1, b"");
        peer
    }

    /// Creates a server to which no client is connected yet.
    pub fn server() -> Peer {
        let nobody = SocketAddr::from((KERNEL, 0));
        let mut peer = Peer::client(0, nobody);
        peer.addr.set_port(9877);
        peer
    }

    /// Receives a SYN without answering it.
    pub fn expect_syn(&mut self) -> Segment {
        loop {
            let segment = self.wire.next();
            if segment.to == self.addr && segment.flags == "SYN" {
                self.kernel = segment.from;
                self.show(&segment);
                self.last = Some(segment.clone());
                return segment;
            }
        }
    }

    /// Performs the server's part of the three-way handshake.
    pub fn accept(&mut self) {
        self.expect_syn();
        self.send("SYN ACK", 0, 1, b"");
        self.expect("ACK", 1, 1, b"");
    }

    /// Sends a segment. Without the ACK flag, `ack` is 0.
    pub fn send(&mut self, flags: &str, seq: u32, ack: u32, data: &[u8]) {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (self.addr.ip(), self.kernel.ip()) else {
            unreachable!("the link has only IPv4 addresses");
        };
        if flags.contains("SYN") {
            let connection = (self.addr, self.kernel);
            self.wire.isn.insert(connection, self.isn);
        }
        let isn = |from, to| self.wire.isn.get(&(from, to)).copied().unwrap_or(0);
        let seq = seq.wrapping_add(isn(self.addr, self.kernel));
        let ack = ack.wrapping_add(isn(self.kernel, self.addr));
        let mut segment = PacketBuilder::ethernet2(VETH1_MAC, VETH0_MAC)
            .ipv4(from.octets(), to.octets(), 64)
            .tcp(self.addr.port(), self.kernel.port(), seq, 65_535);
        for flag in flags.split(' ') {
            segment = match flag {
                "SYN" => segment
                    .syn()
                    .options(&[TcpOptionElement::MaximumSegmentSize(self.mss)])
                    .unwrap(),
                "FIN" => segment.fin(),
                "RST" => segment.rst(),
                "ACK" => segment.ack(ack),
                other => panic!("unknown flag {other}"),
            };
        }
        let mut frame = Vec::new();
        segment.write(&mut frame, data).unwrap();
        let segment = self.wire.send(&frame);
        self.show(&segment);
    }

    /// Waits for the next segment that the kernel sends on this connection.
    #[track_caller]
    pub fn next(&mut self) -> Segment {
        loop {
            let segment = self.wire.next();
            if (segment.from, segment.to) == (self.kernel, self.addr) {
                self.show(&segment);
                return segment;
            }
        }
    }

    /// Waits for this segment. On a slow machine the kernel may retransmit the previous
    /// segment first; any other segment is an error.
    #[track_caller]
    pub fn expect(&mut self, flags: &str, seq: u32, ack: u32, data: &[u8]) -> Segment {
        loop {
            let segment = self.next();
            let is_it = what(&segment) == (flags, seq, ack, data);
            let is_copy = |last: &Segment| what(last) == what(&segment);
            if is_it {
                self.last = Some(segment.clone());
                return segment;
            }
            let again = self.last.as_ref().is_some_and(is_copy);
            assert!(
                again,
                "expected {flags} seq {seq} ack {ack} {data:?}, received {segment}"
            );
        }
    }

    fn show(&mut self, segment: &Segment) {
        let Segment { side, from, to, .. } = segment;
        let remark = mem::take(&mut self.remark);
        let line = format!("{side} {from} > {to}: {segment} {remark}");
        show_at(segment.time, line.trim_end());
    }

    /// Waits until the kernel has dropped the connection and answers the peer with an RST.
    #[track_caller]
    pub fn expect_gone(&mut self) {
        wait_state(self.kernel, self.addr, None);
        self.remark = "(to provoke an RST)";
        self.send("ACK", 1, 1, b"");
        self.expect("RST", 1, 0, b"");
    }

    /// Shows and returns the state of the kernel's end.
    pub fn kernel_state(&self) -> Option<&'static str> {
        show_state(self.kernel, self.addr)
    }

    /// Waits until the kernel's end is in this state.
    pub fn wait_kernel_state(&self, state: &str) {
        wait_state(self.kernel, self.addr, state);
    }
}

/// Returns the flags, sequence number, acknowledgment number and data.
fn what(segment: &Segment) -> (&str, u32, u32, &[u8]) {
    (&segment.flags, segment.seq, segment.ack, &segment.data)
}
