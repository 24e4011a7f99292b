//! A network namespace for each test. No packet leaves the namespace, and the kernel removes it
//! after the last process in it terminates.
//!
//! Parallel tests can therefore use the same addresses and ports, change the kernel's timers, and
//! cut their links without affecting each other.

use crate::common::{descriptors, wait_until};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::libc;
use nix::net::if_::InterfaceFlags;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Pid, getgid, getuid};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// tcpserv and tcpcli run at `veth0`, the kernel's end of the link; the test plays the other host
/// at `veth1`. The other host's MAC address is preset, so the kernel sends no ARP requests. With
/// `gso_max_segs 1`, the kernel splits data into segments instead of leaving this to the network
/// card.
const SETUP: &str = "
    link set lo up
    link add veth0 address 02:00:00:00:00:01 type veth peer name veth1 address 02:00:00:00:00:02
    link set veth0 gso_max_segs 1
    address add 192.0.2.1/24 dev veth0
    address add 198.51.100.1/24 dev veth0
    link set veth0 up
    link set veth1 up
    neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent
    neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent
";
pub const VETH0_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const VETH1_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Gains the right to create network namespaces, and enters one as a check. Only a single-threaded
/// process can gain this right.
///
/// # Errors
/// Returns why this machine does not allow network namespaces.
pub fn allow() -> Result<(), String> {
    try_ip("")?; // before anything is changed
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        // As root in a user namespace, an ordinary user may create a network namespace.
        let (uid, gid) = (getuid(), getgid());
        let user = CloneFlags::CLONE_NEWUSER;
        unshare(user).map_err(|why| format!("unshare cannot create a user namespace: {why}"))?;
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    enter()
}

/// Moves this thread, and all processes that it starts later, into a new network namespace.
///
/// # Errors
/// Returns why this machine does not allow network namespaces.
pub fn enter() -> Result<(), String> {
    let network = CloneFlags::CLONE_NEWNET;
    unshare(network).map_err(|why| format!("unshare cannot create a network namespace: {why}"))?;
    try_ip(SETUP)?;
    // Namespaces created from this one get a small connection table, which is fast to read.
    // Kernels before 6.1 lack this setting.
    let _ = write("/proc/sys/net/ipv4/tcp_child_ehash_entries", "1024");
    // On a busy machine, a late ACK may cause an RST that ends TIME_WAIT (RFC 1337).
    sysctl("tcp_rfc1337", 1);
    wait_until("the link to be up", link_is_up);
    Ok(())
}

/// Whether the kernel has noticed that both ends are up; until then, it drops all packets.
fn link_is_up() -> bool {
    let up = |interface: &InterfaceAddress| interface.flags.contains(InterfaceFlags::IFF_RUNNING);
    let interfaces: Vec<_> = getifaddrs().unwrap().filter(up).collect();
    let is_up = |name: &str| interfaces.iter().any(|up| up.interface_name == name);
    is_up("veth0") && is_up("veth1")
}

/// Keeps the programs from inheriting descriptors that make or an editor left open, because the
/// experiments show descriptors by number.
pub fn close_inherited_descriptors_in_children() {
    for descriptor in descriptors(Pid::this()) {
        if descriptor.fd > 2 {
            // SAFETY: all arguments are integers. For the descriptor that listed the others, which
            // is already closed, fcntl fails harmlessly.
            unsafe { libc::fcntl(descriptor.fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Checks that IPv6 works in this network, and adds an IPv6 address to `veth0`.
///
/// # Errors
/// Returns why IPv6 does not work.
pub fn ipv6() -> Result<(), String> {
    let bound = TcpListener::bind("[::1]:0");
    bound.map_err(|why| format!("no IPv6: {why}"))?;
    try_ip("address add fe80::1/64 dev veth0 nodad")
}

/// A network namespace that a thread can enter again.
pub struct Namespace(File);

impl Namespace {
    /// Returns the namespace that this thread is in.
    pub fn current() -> Namespace {
        Namespace(File::open("/proc/thread-self/ns/net").unwrap())
    }

    pub fn enter(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

/// Runs these `ip` commands, one per line.
pub fn ip(commands: &str) {
    try_ip(commands).unwrap();
}

fn try_ip(commands: &str) -> Result<(), String> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("cannot run the command ip (package iproute2): {why}"))?;
    // If ip fails, it may exit before it reads everything. The exit status shows the failure.
    let _ = ip.stdin.take().unwrap().write_all(commands.as_bytes());
    let done = ip.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    (done.status.success() && said.is_empty())
        .then_some(())
        .ok_or_else(|| format!("ip: {}", said.trim_end()))
}

/// Sets one of the kernel's TCP parameters in this network, such as `tcp_retries2`.
pub fn sysctl(name: &str, value: impl ToString) {
    write(&format!("/proc/sys/net/ipv4/{name}"), &value.to_string()).unwrap();
}

fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|why| format!("{path}: {why}"))
}
