//! The buffer of str_echo and of str_cli_batch.

use std::sync::Mutex;

/// Its size, in bytes. The listing's buffer has MAXLINE; with this one a bulk transfer is more than
/// twice as fast.
const SIZE: usize = 512 * 1024;

/// The kernel copies faster to and from a buffer that starts at a page boundary. It gives it memory
/// page by page, when something is written there.
#[repr(align(4096))]
struct Memory([u8; SIZE]);

/// They are part of the program, so that a child has no memory to allocate. str_cli_batch uses both.
static BUFFERS: [Mutex<Memory>; 2] = [const { Mutex::new(Memory([0; SIZE])) }; 2];

/// Gives `work` a buffer that nobody else uses meanwhile; one of its own if the others are in use.
pub(crate) fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let free = BUFFERS.iter().find_map(|buffer| buffer.try_lock().ok());
    match free {
        Some(mut buffer) => work(&mut buffer.0),
        None => work(&mut vec![0; SIZE]),
    }
}
