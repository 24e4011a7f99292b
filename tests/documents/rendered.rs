//! Checks the links in the pages that `cargo doc` generates.

use crate::claims::files;
use crate::common::show_first;
use crate::texts::read;
use libtest_mimic::{Completion, Trial};
use nix::unistd::{AccessFlags, access, mkdtemp};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Returns a test that is ignored if cargo cannot build, as with another user's registry.
pub fn trial() -> Trial {
    let name = "each_link_in_cargo_doc_leads_to_an_existing_page_and_element";
    Trial::ignorable_test(name, || {
        let target = Target::new();
        // The library itself compiles, because this test was built with it.
        if let Err(why) = target.cargo(&["check"]) {
            let reason = why.lines().find(|line| line.starts_with("error"));
            return Ok(Completion::ignored_with(reason.unwrap_or(&why)));
        }
        show_first();
        if let Err(why) = target.cargo(&["doc", "--no-deps"]) {
            panic!("cargo doc: {why}");
        }
        let dead = dead_links(&target.path.join("doc/unp"));
        assert!(dead.is_empty(), "dead links: {dead:#?}");
        Ok(Completion::Completed)
    })
}

/// Returns the broken relative links. Absolute links, such as links to other crates, are skipped.
fn dead_links(pages: &Path) -> Vec<String> {
    let mut dead = Vec::new();
    for page in files(pages, "html") {
        let html = read(&page);
        let links = html.split("href=\"").skip(1);
        let links = links.filter_map(|rest| Some(rest.split_once('"')?.0));
        let is_in_script = |link: &str| link.contains("${");
        for link in links.filter(|link| !link.starts_with("https://") && !is_in_script(link)) {
            let (path, id) = link.split_once('#').unwrap_or((link, ""));
            let to = match path {
                "" => page.clone(),
                _ => page.with_file_name(path),
            };
            let is_lines = path.ends_with(".rs.html"); // a range of lines, such as `#10-12`
            let has_id = || read(&to).contains(&format!(" id=\"{id}\""));
            if !to.is_file() || !(id.is_empty() || is_lines || has_id()) {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    dead
}

/// A target directory in CARGO_TARGET_TMPDIR or, if that is not writable, a temporary directory.
struct Target {
    path: PathBuf,
    is_temporary: bool,
}

impl Target {
    fn new() -> Target {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documentation");
        let _ = fs::create_dir_all(&path);
        let is_temporary = access(&path, AccessFlags::W_OK).is_err();
        let temporary = || mkdtemp(&env::temp_dir().join("documentation.XXXXXX")).unwrap();
        Target {
            path: if is_temporary { temporary() } else { path },
            is_temporary,
        }
    }

    /// Runs cargo on the library. If cargo fails, returns its error messages.
    fn cargo(&self, command: &[&str]) -> Result<(), String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(command).args(["--lib", "--locked", "--offline"]);
        cargo.arg("--quiet").arg("--target-dir").arg(&self.path);
        cargo.env_remove("CARGO_BUILD_TARGET");
        cargo.env("RUSTDOCFLAGS", "-D warnings");
        let done = cargo.output().map_err(|why| format!("cargo: {why}"))?;
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success().then_some(()).ok_or(stderr)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
