//! The floor of the benchmark: an echo server and an echo client of bare system
//! calls, in a static program without a library. What they cost, the kernel costs.
//!
//! - `floor serv` listens on a free port of all addresses;
//! - `floor lines PORT` sends the lines of standard input one by one, each when the
//!   echo of the one before is there (at most 4 MiB in all);
//! - `floor batch PORT` sends standard input and takes the echo at the same time.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

const fn number(x86_64: usize, aarch64: usize) -> usize {
    if cfg!(target_arch = "x86_64") {
        x86_64
    } else {
        aarch64
    }
}

const READ: usize = number(0, 63);
const WRITE: usize = number(1, 64);
const CLOSE: usize = number(3, 57);
const RT_SIGACTION: usize = number(13, 134);
const SOCKET: usize = number(41, 198);
const CONNECT: usize = number(42, 203);
const ACCEPT4: usize = number(288, 242);
const SHUTDOWN: usize = number(48, 210);
const BIND: usize = number(49, 200);
const LISTEN: usize = number(50, 201);
const CLONE: usize = number(56, 220);
const EXIT_GROUP: usize = number(231, 94);

const SIGCHLD: usize = 17;

// The kernel puts the argument count, then the arguments, where the stack begins.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start: mov rdi, rsp", "call {}", sym start);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start: mov x0, sp", "bl {}", sym start);

/// # Safety
/// That of the system call: pointers among `args` are good for what it does to them.
unsafe fn call<const N: usize>(number: usize, args: [usize; N]) -> isize {
    let arg = |n| args.get(n).copied().unwrap_or(0);
    let result;
    // SAFETY: the kernel's calling convention; the caller answers for the arguments.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") arg(0), in("rsi") arg(1), in("rdx") arg(2), in("r10") arg(3), in("r8") arg(4),
            lateout("rcx") _, lateout("r11") _, options(nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("svc 0", in("x8") number, inlateout("x0") arg(0) => result,
            in("x1") arg(1), in("x2") arg(2), in("x3") arg(3), in("x4") arg(4), options(nostack));
    }
    result
}

/// A system call whose arguments are plain numbers, and which must succeed.
fn plain<const N: usize>(number: usize, args: [usize; N]) -> usize {
    // SAFETY: no pointer among them. (clone without flags is fork.)
    succeeded(unsafe { call(number, args) })
}

fn succeeded(result: isize) -> usize {
    usize::try_from(result).unwrap_or_else(|_| exit(1))
}

fn exit(status: usize) -> ! {
    loop {
        plain(EXIT_GROUP, [status]);
    }
}

/// A part of a buffer. (An index that may panic would need what links to std.)
fn part(buf: &mut [u8], from: usize, to: usize) -> &mut [u8] {
    buf.get_mut(from..to).unwrap_or_else(|| exit(3))
}

fn read(fd: usize, buf: &mut [u8]) -> usize {
    // SAFETY: the kernel writes within `buf`.
    succeeded(unsafe { call(READ, [fd, buf.as_mut_ptr().addr(), buf.len()]) })
}

fn write_all(fd: usize, mut buf: &[u8]) {
    while !buf.is_empty() {
        // SAFETY: the kernel reads within `buf`.
        let n = succeeded(unsafe { call(WRITE, [fd, buf.as_ptr().addr(), buf.len()]) });
        buf = buf.get(n..).unwrap_or_default();
    }
}

/// Copies to the end of file.
fn copy(from: usize, to: usize, buf: &mut [u8]) {
    loop {
        match read(from, buf) {
            0 => break,
            n => write_all(to, part(buf, 0, n)),
        }
    }
}

fn serve(listenfd: usize, buf: &mut [u8]) -> ! {
    let ignore = [1_usize, 0, 0, 0];
    // SAFETY: four words are a sigaction of either kernel; that nobody asks for the
    // old one, and that a set of signals has 8 bytes, is said behind it.
    succeeded(unsafe { call(RT_SIGACTION, [SIGCHLD, ignore.as_ptr().addr(), 0, 8]) });
    plain(LISTEN, [listenfd, 4096]);
    loop {
        let connfd = plain(ACCEPT4, [listenfd, 0, 0, 0]);
        if plain(CLONE, [SIGCHLD, 0, 0, 0, 0]) == 0 {
            plain(CLOSE, [listenfd]);
            copy(connfd, connfd, buf);
            exit(0);
        }
        plain(CLOSE, [connfd]);
    }
}

fn lines(sockfd: usize, buf: &mut [u8]) {
    let mut end = 0;
    loop {
        let room = buf.len();
        match read(0, part(buf, end, room)) {
            0 => break,
            n => end += n,
        }
    }
    for line in part(buf, 0, end).split_inclusive_mut(|&byte| byte == b'\n') {
        write_all(sockfd, line);
        let (mut echoed, length) = (0, line.len());
        while echoed < length {
            match read(sockfd, part(line, echoed, length)) {
                0 => exit(1),
                n => echoed += n,
            }
        }
    }
    write_all(1, part(buf, 0, end));
}

fn batch(sockfd: usize, buf: &mut [u8]) {
    if plain(CLONE, [SIGCHLD, 0, 0, 0, 0]) == 0 {
        copy(0, sockfd, buf);
        plain(SHUTDOWN, [sockfd, 1]);
    } else {
        copy(sockfd, 1, buf);
    }
}

static mut BUF: [u8; 4 << 20] = [0; 4 << 20];

/// # Safety
/// Only `_start` calls it, with the stack as the kernel made it.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: this runs once, and is the one place that names BUF.
    let buf = unsafe { &mut *(&raw mut BUF) };
    // SAFETY: there lie the number of arguments, then as many pointers to strings,
    // each of them through its NUL, which is where the loop ends.
    let (job, port) = unsafe {
        let argument = |n| {
            if n < *stack {
                *stack.add(1 + n) as *const u8
            } else {
                c"".as_ptr().cast()
            }
        };
        let (mut digit, mut port) = (argument(2), 0_u16);
        while *digit != 0 {
            port = port.wrapping_mul(10).wrapping_add(u16::from(*digit & 15));
            digit = digit.add(1);
        }
        (*argument(1), port)
    };
    let (number, ip) = if port == 0 {
        (BIND, [0; 4])
    } else {
        (CONNECT, [127, 0, 0, 1])
    };
    let port = port.to_be_bytes();
    // A sockaddr_in, whose address family, AF_INET, is in the machine's byte order.
    let family = 2_u16.to_ne_bytes();
    let address = [
        [family, port],
        [[ip[0], ip[1]], [ip[2], ip[3]]],
        [[0; 2]; 2],
        [[0; 2]; 2],
    ];

    let fd = plain(SOCKET, [2, 1, 0]);
    // SAFETY: the kernel reads within `address`.
    succeeded(unsafe { call(number, [fd, address.as_ptr().addr(), size_of_val(&address)]) });
    match job {
        b's' => serve(fd, part(buf, 0, 256 << 10)),
        b'l' => lines(fd, buf),
        b'b' => batch(fd, part(buf, 0, 256 << 10)),
        _ => exit(2),
    }
    exit(0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit(3)
}
