//! The test harness: it starts and kills the real programs, and reads their state from the kernel.
#![allow(dead_code, unused_imports)] // each test file uses only part of it

mod connections;
pub mod machine;
mod process;
mod program;
mod server;
mod show;
mod stream;
pub mod terminal;
pub mod trace;

pub use connections::*;
pub use process::*;
pub use program::*;
pub use server::*;
pub use show::*;
pub use stream::*;

// Imports for most tests.
pub use nix::{errno::Errno, libc, sys::signal::Signal, unistd::Pid};
pub use rlimit::Resource;
pub use std::io::{Read, Write};
pub use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
pub use std::process::{Command, Stdio};
pub use std::time::{Duration, Instant};
pub use std::{fs, thread};

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;
use std::fmt::Display;
use std::fs::File;
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub const TCPSERV: &str = env!("CARGO_BIN_EXE_tcpserv");
pub const TCPCLI: &str = env!("CARGO_BIN_EXE_tcpcli");

/// How long a test waits for an event before it fails. With 16 parallel tests and two busy
/// loops on two cores, the longest wait seen is one second (plus any idle timeout).
pub const DEADLINE: Duration = Duration::from_secs(20);

/// An error as the programs print it: the C library's text, and the number.
pub fn reason(errno: Errno) -> String {
    Error::from(errno).to_string()
}

/// Waits for an event by calling `look` until it returns `Some`.
pub fn wait_for<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn wait_until(what: impl Display, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Waits for an event that can no longer occur once this process has terminated.
pub fn wait_while_alive<T>(pid: Pid, what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    wait_for(&what, || {
        let over = ended(pid); // checked first, because the event may be the process's last act
        let seen = look();
        assert!(
            seen.is_some() || !over,
            "no longer waiting for {what}: {pid} terminated"
        );
        seen
    })
}

pub fn join<T>(what: impl Display, thread: JoinHandle<T>) -> T {
    wait_until(what, || thread.is_finished());
    thread.join().unwrap()
}

/// A program's output, read by a thread as it arrives.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn read(mut from: impl Read + Send + 'static) -> Output {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = bytes.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            // Reading fails (EIO) once no process has the terminal open.
            while let Ok(n @ 1..) = from.read(&mut piece) {
                heard.lock().unwrap().extend(&piece[..n]);
            }
        });
        let reader = Some(reader);
        Output { bytes, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// The complete lines so far.
    fn lines(&self) -> Vec<String> {
        let text = self.so_far();
        let (lines, _) = text.rsplit_once('\n').unwrap_or_default();
        lines.lines().map(str::to_owned).collect()
    }

    /// The whole output, once no process can write any more.
    fn whole(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            join("the end of the output", reader);
        }
        self.bytes.lock().unwrap().clone()
    }
}

/// A file in memory, which leaves nothing behind however the test ends.
pub fn memory_file() -> File {
    memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap().into()
}

/// A pipe's read end and write end.
pub fn pipe() -> (File, File) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (reader.into(), writer.into())
}
