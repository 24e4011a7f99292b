//! Links the two programs statically, where the C library is there as an archive.
//!
//! A fork copies each mapping of its process, and the child's end takes it down again.
//! The shared C library and its loader are half of them, and the server's only work
//! beside the kernel's is to fork. `-C target-feature=+crt-static` has the same effect,
//! but a package cannot ask for it, and where the caller does, without `--target`,
//! it breaks the procedural macros.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let set = |name: &str| env::var(name).unwrap_or_default();

    let shared = set("CARGO_CFG_TARGET_OS") == "linux" && set("CARGO_CFG_TARGET_ENV") == "gnu";
    let native = set("HOST") == set("TARGET");
    let said = set("CARGO_ENCODED_RUSTFLAGS").contains("crt-static"); // with + or -
    if !shared || !native || said {
        return;
    }

    let linker = env::var("RUSTC_LINKER").unwrap_or("cc".to_owned());
    let find = |file: &str| {
        let found = Command::new(&linker)
            .arg(format!("-print-file-name={file}"))
            .output()
            .ok()?;
        let path = String::from_utf8(found.stdout).ok()?.trim_end().to_owned();
        Path::new(&path).is_absolute().then_some(path)
    };
    let archives = ["libc.a", "libm.a", "libgcc_eh.a", "libgcc.a"].map(find);
    let ([Some(c), Some(m), Some(gcc_eh), Some(gcc)], Some(_)) = (archives, find("rcrt1.o")) else {
        return;
    };

    // rustc names shared libraries. Here the linker finds the archives by those names.
    let out = set("OUT_DIR");
    for (name, archives) in [
        ("libc.a", format!(r#""{c}" "{gcc_eh}" "{gcc}""#)),
        ("libm.a", format!(r#""{m}""#)),
        ("libgcc_s.a", format!(r#""{gcc_eh}" "{gcc}""#)),
    ] {
        let script = Path::new(&out).join(name);
        if fs::write(script, format!("GROUP ( {archives} )\n")).is_err() {
            return;
        }
    }
    println!("cargo::rustc-link-arg-bins=-L{out}");
    println!("cargo::rustc-link-arg-bins=-static-pie");
}
