//! Before the build: can the two programs be linked statically here?
//!
//! A fork copies each mapping of its process, and the child's end takes it down again.
//! The shared C library and its loader are half of them, and to fork is what the server
//! does all day. `-C target-feature=+crt-static` would link them statically, but a
//! package cannot ask for that, and a caller who does, without `--target`, breaks the
//! procedural macros. A caller who says `-crt-static` is heard.

use std::error::Error;
use std::process::{Command, Stdio};
use std::{env, fs};

/// rustc asks for shared libraries by these names. The linker looks into OUT_DIR before
/// it looks into the system's directories, and finds scripts that name the archives.
const SCRIPTS: [(&str, &str); 3] = [
    (
        "libc.so",
        "GROUP ( -l:libc.a -l:libgcc_eh.a -l:libgcc.a )\n",
    ),
    ("libm.so", "GROUP ( -l:libm.a )\n"),
    ("libgcc_s.so", "GROUP ( -l:libgcc_eh.a -l:libgcc.a )\n"),
];

/// Uses what the programs use of the C library's own machinery: memory, threads, output.
const PROBE: &str = "fn main() { print!(\"{:?}\", std::thread::spawn(|| vec![0]).join()) }\n";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/build.rs");
    let rustflags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let rustflags: Vec<_> = rustflags.split_terminator('\x1f').collect();

    let glibc = env::var("CARGO_CFG_TARGET_OS")? == "linux"
        && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    let runs_here = env::var("TARGET")? == env::var("HOST")?;
    let said = rustflags.iter().any(|flag| flag.contains("crt-static"));
    if !glibc || !runs_here || said {
        return Ok(());
    }

    let out = env::var("OUT_DIR")?;
    for (name, script) in SCRIPTS {
        fs::write(format!("{out}/{name}"), script)?;
    }
    let link_args = [format!("-L{out}"), "-static-pie".to_owned()];
    if works(&rustflags, &link_args, &out)? {
        for arg in link_args {
            println!("cargo::rustc-link-arg-bins={arg}");
        }
    }
    Ok(())
}

/// Whether a program that is linked so can be built, and runs.
fn works(rustflags: &[&str], link_args: &[String], out: &str) -> Result<bool, Box<dyn Error>> {
    let (source, probe) = (format!("{out}/probe.rs"), format!("{out}/probe"));
    fs::write(&source, PROBE)?;
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args(["--target", &env::var("TARGET")?, "-o", &probe, &source]);
    rustc.args(rustflags);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(link_args.iter().map(|arg| format!("-Clink-arg={arg}")));
    let built = rustc.output()?.status.success();
    let mut probe = Command::new(&probe);
    // What the caller's flags may make it leave behind stays in `out`.
    probe.current_dir(out).stdout(Stdio::null());
    Ok(built && probe.status().is_ok_and(|status| status.success()))
}
