//! Shows what a test sees, with `cargo test o1_ -- --nocapture`.

use super::*;
use std::env;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether `--nocapture` was given. libtest-mimic accepts the flag, but never captures output.
pub static IS_ASKED: LazyLock<bool> = LazyLock::new(|| env::args().any(|arg| arg == "--nocapture"));

/// The last test to print, if it has its own thread, and the time of its first line.
static SHOWN: Mutex<(String, Option<Duration>)> = Mutex::new((String::new(), None));

/// Starts a test's output on a new line, after the test's name.
pub fn show_first() {
    if *IS_ASKED {
        println!();
        SHOWN.lock().unwrap().1 = None;
    }
}

/// Prints a line with the current time, if output was requested.
pub fn show(line: impl Display) {
    show_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap(), line);
}

/// Prints a line with a time since 1970, if output was requested.
pub fn show_at(time: Duration, line: impl Display) {
    if !*IS_ASKED {
        return;
    }
    let mut shown = SHOWN.lock().unwrap();
    // The standard harness names each thread after its test, and runs several tests at a time.
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main");
    if let Some(test) = test.filter(|name| *name != shown.0) {
        println!("\n{test}:");
        shown.0 = test.to_owned();
    }
    let start = *shown.1.get_or_insert(time);
    let seconds = time.saturating_sub(start).as_secs_f64();
    println!("{seconds:6.3} {line}");
}
