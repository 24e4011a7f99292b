//! The test's end of the link: a packet socket that sends and receives segments.

use crate::common::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{ReceiveTimeout, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};
use std::collections::HashMap;
use std::fmt;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// A TCP segment. Sequence numbers are relative to the initial ones, as in tcpdump's output:
/// a SYN has sequence number 0, and the first byte has 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The arrival time, since 1970.
    pub time: Duration,
    /// The sender: `client` or `server`.
    pub side: &'static str,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// `SYN`, `SYN ACK`, `ACK`, `FIN ACK`, `RST` or `RST ACK`. PSH is omitted.
    pub flags: String,
    pub seq: u32,
    /// 0 if the ACK flag is not set.
    pub ack: u32,
    pub data: Vec<u8>,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
}

/// Formats a segment as `FIN ACK seq 7 ack 7 length 0`.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Segment {
            flags, seq, ack, ..
        } = self;
        write!(f, "{flags} seq {seq} ")?;
        if flags.contains("ACK") {
            write!(f, "ack {ack} ")?;
        }
        write!(f, "length {}", self.data.len())
    }
}

/// The test's end of the link.
pub struct Wire {
    socket: OwnedFd,
    veth1: LinkAddr,
    /// The initial sequence numbers, by the source and destination of a segment.
    pub isn: HashMap<(SocketAddr, SocketAddr), u32>,
    /// The destination of the first SYN.
    server: Option<SocketAddr>,
}

impl Wire {
    /// Opens a packet socket in this thread's network.
    pub fn listen() -> Wire {
        let (family, flags) = (AddressFamily::Packet, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        let deadline = TimeVal::seconds(DEADLINE.as_secs() as i64);
        setsockopt(&socket, ReceiveTimeout, &deadline).unwrap();
        let mut veth1 = getifaddrs()
            .unwrap()
            .filter(|it| it.interface_name == "veth1");
        Wire {
            socket,
            veth1: veth1
                .find_map(|it| it.address?.as_link_addr().copied())
                .unwrap(),
            isn: HashMap::new(),
            server: None,
        }
    }

    /// Sends a frame and returns the segment in it.
    pub fn send(&mut self, frame: &[u8]) -> Segment {
        let fd = self.socket.as_raw_fd();
        let sent = sendto(fd, frame, &self.veth1, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.parse(frame, now).unwrap()
    }

    /// Waits for the next segment.
    #[track_caller]
    pub fn next(&mut self) -> Segment {
        self.receive(MsgFlags::empty()).expect("no segment arrived")
    }

    /// Returns the next segment if it has already arrived.
    pub fn next_now(&mut self) -> Option<Segment> {
        self.receive(MsgFlags::MSG_DONTWAIT)
    }

    fn receive(&mut self, how: MsgFlags) -> Option<Segment> {
        let mut frame = [0; 2000]; // the link's MTU is 1500
        loop {
            let mut iov = [IoSliceMut::new(&mut frame)];
            let mut space = nix::cmsg_space!(TimeSpec);
            let fd = self.socket.as_raw_fd();
            let got = match recvmsg::<LinkAddr>(fd, &mut iov, Some(&mut space), how) {
                Err(Errno::EAGAIN) => return None,
                got => got.unwrap(),
            };
            let time = got.cmsgs().unwrap().find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
            // The socket also receives the traffic on veth0.
            let is_here = got.address.unwrap().ifindex() == self.veth1.ifindex();
            let n = got.bytes;
            let segment = self.parse(&frame[..n], time.unwrap());
            if is_here && segment.is_some() {
                return segment;
            }
        }
    }

    /// Returns the TCP segment in a frame, if there is one.
    fn parse(&mut self, frame: &[u8], time: Duration) -> Option<Segment> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
            (&packet.net, &packet.transport)
        else {
            return None;
        };
        let from = SocketAddr::from((ip.header().source_addr(), tcp.source_port()));
        let to = SocketAddr::from((ip.header().destination_addr(), tcp.destination_port()));
        let server = self.server.get_or_insert(to);
        if tcp.syn() {
            self.isn.insert((from, to), tcp.sequence_number());
        }
        let isn = |from, to| self.isn.get(&(from, to)).copied().unwrap_or(0);
        let flags = [
            (tcp.syn(), "SYN"),
            (tcp.fin(), "FIN"),
            (tcp.rst(), "RST"),
            (tcp.ack(), "ACK"),
        ];
        let flags: Vec<_> = flags.iter().filter(|flag| flag.0).map(|f| f.1).collect();
        let ack = tcp.acknowledgment_number().wrapping_sub(isn(to, from));
        Some(Segment {
            time,
            side: if *server == to { "client" } else { "server" },
            from,
            to,
            flags: flags.join(" "),
            seq: tcp.sequence_number().wrapping_sub(isn(from, to)),
            ack: if tcp.ack() { ack } else { 0 },
            data: tcp.payload().to_vec(),
            frame: frame.to_vec(),
        })
    }
}
