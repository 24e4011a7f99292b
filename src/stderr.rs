//! Writes a line of at most 512 bytes to standard error, and finds the program's name.

use std::fmt::Arguments;
use std::{env, io, path::Path, sync::OnceLock};

/// Formats a line of at most 512 bytes and writes it. This function takes no lock and allocates
/// nothing, so a signal handler may call it.
pub(crate) fn write_line(text: Arguments, write: impl FnOnce(&[u8]) -> io::Result<usize>) {
    let mut line = [b'\n'; 512]; // the byte after the text stays a newline
    let mut room = &mut line[..511];
    let _ = io::Write::write_fmt(&mut room, text); // if the text does not fit, it is truncated
    let len = 511 - room.len();
    let _ = write(&line[..=len]); // a failure to write to standard error cannot be reported
}

/// Returns the program's name (`argv[0]` without the directory). The first call allocates memory.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let argv0 = env::args_os().next().unwrap_or_default();
        let name = Path::new(&argv0).file_name().unwrap_or(&argv0);
        // Control characters in argv[0] must not break the line.
        name.to_string_lossy().replace(char::is_control, "?")
    })
}
