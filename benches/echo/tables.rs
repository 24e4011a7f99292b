//! The tables. `part` is 1 for a full run, and n for 1/n of the work.

use crate::common::{Server, connect, echo, set_limit, status, wait_asleep, wait_until};
use crate::load::{self, Input, LINE, on_one_core};
use crate::peers::{BATCH_CLIENTS, CLIENTS, Peer, SERVERS};
use crate::report::{median, table};
use nix::unistd::Pid;
use procfs::process::Process;
use rlimit::Resource;

pub fn connections(part: usize) {
    let n = 1_000 / part;
    let says = format!(
        "The server: connect, a line, its echo, close. {n} connections, from 1, 4 or 16 clients \
         at a time. More is better."
    );
    let columns = ["1 client, connections/s", "4 clients", "16 clients"];
    table("Connections", &says, &columns, &SERVERS, |peer| {
        let server = warm(peer);
        let rate = |clients| load::connections(server.addr, clients, n);
        [1, 4, 16].map(rate).to_vec()
    });
}

pub fn roundtrip(part: usize) {
    let n = 5_000 / part;
    let says = format!(
        "The server, on one core with its client: a line of 64 bytes and its echo. A round is \
         the median of {n}. Less is better."
    );
    table("Round trip", &says, &["µs"], &SERVERS, |peer| {
        on_one_core(|| {
            let server = warm(peer);
            vec![load::round_trip(server.addr, n)]
        })
    });
}

pub fn lines(part: usize) {
    let n = 20_000 / part;
    let says = format!(
        "The client, on one core with tcpserv: {n} lines of 64 bytes from a file, each sent \
         after the echo of the previous one. Less is better."
    );
    let input = Input::new(n);
    table("Stop-and-wait", &says, &["µs per line"], &CLIENTS, |peer| {
        on_one_core(|| {
            let server = warm(&SERVERS[0]);
            vec![input.time(peer, server.addr, 1) * 1e6 / n as f64]
        })
    });
}

pub fn bulk(part: usize) {
    let mebibytes = 500 / part;
    let says = format!(
        "The server: {mebibytes} MiB on one connection, sent in pieces of 256 KiB while the echo \
         is read. More is better. Plain C has the listing's buffer of 4 KiB, tcpserv here uses \
         256 KiB, and the lower bound has 512 KiB."
    );
    table("Bulk transfer", &says, &["GB/s"], &SERVERS, |peer| {
        let server = warm(peer);
        vec![load::bulk(server.addr, mebibytes)]
    });
}

pub fn batch(part: usize) {
    let input = Input::new(2_000_000 / part);
    let says = format!(
        "The client, with tcpserv: {} MB in lines of 64 bytes from a file to /dev/null. More is \
         better.",
        input.bytes / 1_000_000
    );
    table("Batch", &says, &["GB/s"], &BATCH_CLIENTS, |peer| {
        let server = warm(&SERVERS[0]);
        vec![input.bytes as f64 / 1e9 / input.time(peer, server.addr, 1)]
    });
}

pub fn memory(part: usize) {
    let says = "The server: the page faults of a child that echoes one line, and the memory that \
                a child does not share (private memory and page tables) while it waits for a \
                second line. Less is better. The page faults of the lower bound's children are \
                not counted, because their parent does not wait for them.";
    let columns = ["page faults", "kB"];
    table("Memory of a child", says, &columns, &SERVERS, |peer| {
        // The number of page tables depends on where the kernel loads a program.
        let own_memory = median((0..5).map(|_| own_memory(&warm(peer))));
        vec![page_faults(&warm(peer), 100 / part), own_memory]
    });
}

/// The average number of page faults per child.
fn page_faults(server: &Server, children: usize) -> f64 {
    let of_children = || {
        wait_childless(server);
        let parent = Process::new(server.pid().as_raw()).unwrap();
        parent.stat().unwrap().cminflt as f64
    };
    let before = of_children();
    load::connections(server.addr, 1, children);
    match of_children() - before {
        0.0 => f64::NAN,
        faults => faults / children as f64,
    }
}

/// The memory in kB that a child does not share while it waits for a second line.
fn own_memory(server: &Server) -> f64 {
    let (mut stream, child) = server.client();
    echo(&mut stream, LINE);
    wait_asleep(child);
    let rollup = Process::new(child.as_raw()).unwrap().smaps_rollup();
    let bytes = &rollup.unwrap().memory_map_rollup.0[0].extension.map;
    let private = bytes["Private_Clean"] + bytes["Private_Dirty"];
    (private / 1024 + status(child).vmpte.unwrap()) as f64
}

pub fn held(part: usize) {
    set_limit(Pid::this(), Resource::NOFILE, u64::MAX);
    let sizes = [1_000, 10_000].map(|size| size / part);
    let n = 500 / part;
    let says = format!(
        "The server: {n} connections from one client at a time, with others held. More is \
         better."
    );
    let columns = sizes.map(|size| format!("{size} held, connections/s"));
    let columns = columns.each_ref().map(String::as_str);
    table("While holding clients", &says, &columns, &SERVERS, |peer| {
        let server = warm(peer);
        let mut held = Vec::new();
        let rate = |size| {
            held.resize_with(size, || {
                let mut stream = connect(server.addr);
                echo(&mut stream, LINE);
                stream
            });
            load::connections(server.addr, 1, n)
        };
        let rates = sizes.map(rate).to_vec();
        drop(held);
        wait_childless(&server);
        rates
    });
}

/// A server that has already served some clients.
fn warm(peer: &Peer) -> Server {
    let server = peer.server();
    load::connections(server.addr, 1, 20);
    server
}

/// Waits until every child has been reaped.
fn wait_childless(server: &Server) {
    wait_until("all children to be reaped", || server.children().is_empty());
}
