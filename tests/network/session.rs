//! A session of two lines between tcpcli and tcpserv on two hosts. The test is the cable between
//! the hosts and delays each segment by 10 ms. Before delivering a segment, the test reads both
//! ends' states from the kernel.

use crate::common::trace::{Event, events};
use crate::common::*;
use crate::namespace::{self, Namespace, VETH0_MAC, VETH1_MAC, ip, sysctl};
use crate::wire::{Segment, Wire};
use etherparse::{IpHeaders, NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a segment is in transit.
pub const DELAY: Duration = Duration::from_millis(10);
const CLIENT: &str = "192.0.2.1:40000";
const SERVER: &str = "192.0.2.2:9877";

/// A two-line session as recorded by the cable, both kernels and both programs.
pub struct Session {
    /// Each segment, with the states of client and server while the segment is in transit.
    pub segments: Vec<(Segment, [&'static str; 2])>,
    pub events: Vec<Event>,
    pub client: Pid,
    pub parent: Pid,
    pub child: Pid,
}

/// Runs a session of two lines. Optionally, the child is stopped until the client is in FIN_WAIT_2.
pub fn session(is_stopped: bool) -> Session {
    namespace::enter().unwrap();
    sysctl("ip_local_port_range", "40000 40000");
    let client_host = Host::new(CLIENT, SERVER);
    let client_network = Namespace::current();
    namespace::enter().unwrap();
    ip("address del 192.0.2.1/24 dev veth0
        address add 192.0.2.2/24 dev veth0
        neighbour del 192.0.2.2 dev veth0
        neighbour add 192.0.2.1 lladdr 02:00:00:00:00:02 dev veth0 nud permanent");
    let server_host = Host::new(SERVER, CLIENT);
    let server_network = Namespace::current();
    let cable = thread::spawn(move || carry(client_host, server_host));

    let mut tcpserv = tcpserv("192.0.2.2", 9877);
    let tcpserv = Server::spawn(tcpserv.arg("--trace"));
    client_network.enter();
    let mut tcpcli = tcpcli(tcpserv.addr);
    tcpcli.arg("--trace");
    let mut tcpcli = Program::spawn(&mut tcpcli, Stdio::piped(), Stdio::piped());
    let [client, server] = [CLIENT, SERVER].map(|addr| addr.parse().unwrap());
    server_network.enter();
    let child = wait_for("the child", || tcpserv.children().first().copied());
    wait_reading_socket(child);
    wait_accepting(tcpserv.pid());
    for line in ["hello, world\n", "line 2\n"] {
        tcpcli.type_in(line.as_bytes());
        tcpcli.next_output(line.len());
        wait_until("the ACK of the echo", || {
            connection(server, client).is_some_and(|row| row.tx_queue == 0)
        });
        wait_reading_socket(child);
    }
    let stopped = is_stopped.then(|| stop(child));
    tcpcli.ctrl_d();
    if let Some(stopped) = stopped {
        client_network.enter();
        wait_state(client, server, "FIN_WAIT_2");
        stopped.go_on();
    }
    let ended = tcpcli.wait();
    let last = || tcpserv.said().pop().unwrap_or_default();
    wait_until("the parent to accept again", || {
        gone(child) && last().ends_with("accept(3) sleeps")
    });
    let of_client = ended.stderr.lines().map(str::to_owned);
    Session {
        segments: cable.join().unwrap(),
        events: events(of_client.chain(tcpserv.said())),
        client: tcpcli.pid(),
        parent: tcpserv.pid(),
        child,
    }
}

/// Whether this kernel has the variable that determines which echo first carries the ACK.
/// Some kernels without this variable use a fixed value of 3, which means the fourth echo.
pub fn has_pingpong_thresh() -> bool {
    fs::exists("/proc/sys/net/ipv4/tcp_pingpong_thresh").unwrap()
}

/// A host at one end of the cable, with the addresses of its end of the connection.
struct Host {
    network: Namespace,
    wire: Wire,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Host {
    /// Creates the host whose network this thread is in.
    fn new(local: &str, remote: &str) -> Host {
        if has_pingpong_thresh() {
            sysctl("tcp_pingpong_thresh", 1);
        }
        Host {
            network: Namespace::current(),
            wire: Wire::listen(),
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    /// Returns the state of this host's end of the connection.
    fn state(&self) -> Option<&'static str> {
        self.network.enter();
        tcp_state(self.local, self.remote)
    }
}

/// Carries each segment to the other host until the server's end of the connection is gone.
fn carry(mut client: Host, mut server: Host) -> Vec<(Segment, [&'static str; 2])> {
    let mut carried = Vec::new();
    let mut before = "LISTEN";
    loop {
        let segment = wait_for("a segment", || {
            client.wire.next_now().or_else(|| server.wire.next_now())
        });
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - segment.time;
        thread::sleep(DELAY.saturating_sub(elapsed));
        let of_client = client.state().unwrap_or("CLOSED");
        let of_server = server.state().unwrap_or(before);
        before = "CLOSED";
        let to_server = segment.to == server.local;
        let to = if to_server { &mut server } else { &mut client };
        let what = format!("{}: {segment}", segment.side);
        show(format_args!(
            "{what:<44}client {of_client:<12} server {of_server}"
        ));
        to.wire.send(&copy(&segment.frame));
        carried.push((segment, [of_client, of_server]));
        if to_server && of_server == "LAST_ACK" {
            wait_until("the server's end to be gone", || server.state().is_none());
            assert_eq!(client.state(), Some("TIME_WAIT"));
            return carried;
        }
    }
}

/// Copies a frame for sending from the test's end of a link. The kernel leaves the checksum to the
/// network card, so this function computes it.
fn copy(frame: &[u8]) -> Vec<u8> {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let (Some(NetHeaders::Ipv4(ip, options)), Some(TransportHeader::Tcp(tcp))) =
        (packet.net, packet.transport)
    else {
        unreachable!("not a TCP segment over IPv4");
    };
    let builder = PacketBuilder::ethernet2(VETH1_MAC, VETH0_MAC)
        .ip(IpHeaders::Ipv4(ip, options))
        .tcp_header(tcp);
    let mut copy = Vec::new();
    builder.write(&mut copy, packet.payload.slice()).unwrap();
    copy
}
