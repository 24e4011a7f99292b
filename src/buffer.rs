//! The buffer of str_echo and of str_cli_batch.

use std::sync::Mutex;

/// Its size in bytes. The listing's buffer has MAXLINE; with this one a bulk transfer is more than twice
/// as fast.
const SIZE: usize = 512 * 1024;

/// It starts at a page boundary, because then the kernel copies faster. Its pages use no memory until
/// something is written to them.
#[repr(align(4096))]
struct PageAligned([u8; SIZE]);

/// Static, so that a child allocates no memory. There are two because str_cli_batch reads and writes at
/// the same time.
static BUFFERS: [Mutex<PageAligned>; 2] = [const { Mutex::new(PageAligned([0; SIZE])) }; 2];

/// Calls `work` with a buffer that no other thread uses: a free one of the two, or else a new one.
pub(crate) fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let free = BUFFERS.iter().find_map(|buffer| buffer.try_lock().ok());
    match free {
        Some(mut buffer) => work(&mut buffer.0),
        None => work(&mut vec![0; SIZE]),
    }
}
