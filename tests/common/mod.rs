//! The tests' harness: starts the real programs, ends them, and reads what the kernel says
//! of them.
#![allow(dead_code, unused_imports)] // each test file uses its own part

mod connections;
pub mod machine;
mod process;
mod program;
mod server;
mod stream;
pub mod terminal;
pub mod trace;

pub use connections::*;
pub use process::*;
pub use program::*;
pub use server::*;
pub use stream::*;

pub use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, pipe2};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read, Result};
use std::process::ChildStderr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const TCPSERV: &str = env!("CARGO_BIN_EXE_tcpserv");
pub const TCPCLI: &str = env!("CARGO_BIN_EXE_tcpcli");

/// How long a test waits for one event before it fails. The longest wait seen, beside two
/// busy loops on two cores with 16 tests at a time, is one second (and the time of an idle
/// timeout).
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How the programs print an error: the C library's words for it, and its number.
pub fn reason(errno: Errno) -> String {
    Error::from(errno).to_string()
}

/// Waits for an event: calls `look` until it returns something.
pub fn wait_for<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `is_so` returns true.
pub fn wait_until(what: impl Display, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Waits for an event that cannot come any more when this process has ended.
pub fn wait_while_alive<T>(pid: Pid, what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    wait_for(&what, || {
        let over = ended(pid); // before the look: the event may have been its last act
        let seen = look();
        assert!(seen.is_some() || !over, "{pid} has ended before {what}");
        seen
    })
}

/// Waits for a thread's end.
pub fn join<T>(what: impl Display, thread: JoinHandle<T>) -> T {
    wait_until(what, || thread.is_finished());
    thread.join().unwrap()
}

/// Reads a pipe to its end, in a thread of its own.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

/// What a program says on standard error, read by a thread as it comes.
pub struct Said {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Said {
    fn read(stderr: ChildStderr) -> Said {
        let text = Arc::new(Mutex::new(String::new()));
        let (heard, mut stderr) = (text.clone(), BufReader::new(stderr));
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                heard.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Said {
            text,
            reader: Some(reader),
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        let text = self.text.lock().unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// All of it, when nobody can say more.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            join("all that it said", reader);
        }
        self.text.lock().unwrap().clone()
    }
}

/// A file in memory: nothing of it is left, however the test ends.
pub fn memory_file() -> File {
    memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap().into()
}

/// A pipe: its reading and its writing end.
pub fn pipe() -> (File, File) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (reader.into(), writer.into())
}
