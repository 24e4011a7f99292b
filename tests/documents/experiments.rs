//! The experiments of src/doc/laboratory.md, typed in terminals as the file's first section says.

use crate::common::terminal::Terminal;
use crate::common::*;
use crate::transcript::{Numbers, Step, Typed, steps, with_numbers};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, thread};

const FILE: &str = "src/doc/laboratory.md";
const LABORATORY: &str = include_str!("../../src/doc/laboratory.md");
const README: &str = include_str!("../../README.md");

/// The number of each experiment, and the name of its test.
pub fn experiments() -> Vec<(usize, String)> {
    let headings = LABORATORY.lines().filter_map(experiment);
    let name = |(number, title): (usize, &str)| {
        let title = title.to_lowercase();
        let words = title.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        (number, format!("experiment_{number}_{}", words.join("_")))
    };
    headings.map(name).collect()
}

/// `## 1. One session on one time line`: the number and the title.
fn experiment(heading: &str) -> Option<(usize, &str)> {
    let (number, title) = heading.strip_prefix("## ")?.split_once(". ")?;
    Some((number.parse().ok()?, title))
}

/// What is typed in an experiment: what stands before the first one is typed before each.
fn steps_of(number: usize) -> Vec<Step> {
    let lines: Vec<_> = (1..).zip(LABORATORY.lines()).collect();
    let sections = lines.chunk_by(|_, (_, next)| !next.starts_with("## "));
    let sections: Vec<_> = sections.collect();
    let is_it = |section: &&[(usize, &str)]| {
        experiment(section[0].1).is_some_and(|(this, _)| this == number)
    };
    let before = sections
        .iter()
        .take_while(|section| experiment(section[0].1).is_none());
    let own = steps(sections.iter().copied().find(is_it).unwrap());
    assert!(!own.is_empty(), "it has no console block");
    before
        .flat_map(|section| steps(section))
        .chain(own)
        .collect()
}

/// Types an experiment.
pub fn type_experiment(number: usize) {
    let mut laboratory = Laboratory::open(number);
    if let Err(why) = laboratory.run(&steps_of(number)) {
        panic!("{FILE}: {why}\n{}", laboratory.screens());
    }
}

/// Types the sessions of README, one section after the other.
pub fn type_readme() {
    let lines: Vec<_> = (1..).zip(README.lines()).collect();
    let sections = lines.chunk_by(|_, (_, next)| !next.starts_with("## "));
    let sessions = sections.map(steps).filter(|steps| !steps.is_empty());
    let mut typed = 0;
    for steps in sessions {
        typed += 1;
        let mut laboratory = Laboratory::open(100 + typed);
        if let Err(why) = laboratory.run(&steps) {
            panic!("README.md: {why}\n{}", laboratory.screens());
        }
    }
    assert_eq!(typed, 2);
}

/// Tries the tools of an experiment.
///
/// # Errors
/// Which of them is missing, or is forbidden.
pub fn try_tools(number: usize) -> Result<(), String> {
    let tools: [(&str, &[&str]); 6] = [
        ("bash", &["--version"]),
        ("ss", &["--version"]),
        ("ps", &["--version"]),
        ("python3", &["--version"]),
        ("strace", &["-o", "/dev/null", "true"]),
        ("tcpdump", &["-r", "-"]), // gives its privileges up also to read a file
    ];
    let steps = steps_of(number);
    let is_typed = |tool: &str| {
        steps.iter().any(|step| match &step.typed {
            Typed::Command(command) => command.split(' ').any(|word| word == tool),
            _ => false,
        })
    };
    for (tool, arguments) in tools {
        if tool != "bash" && !is_typed(tool) {
            continue;
        }
        if tool == "strace" && cfg!(not(target_env = "gnu")) {
            return Err("the C library is not glibc: it makes other system calls".to_owned());
        }
        let mut command = Command::new(tool);
        command.args(arguments).stdin(file_without_packets());
        let tried = command.output().map_err(|why| format!("{tool}: {why}"))?;
        if !tried.status.success() {
            let said = String::from_utf8_lossy(&tried.stderr);
            return Err(said.lines().last().unwrap_or(tool).to_owned());
        }
    }
    Ok(())
}

/// A file of tcpdump.
fn file_without_packets() -> File {
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_536, 1_u32].map(u32::to_ne_bytes);
    let mut file = memory_file();
    file.write_all(header.as_flattened()).unwrap();
    file.rewind().unwrap();
    file
}

/// The terminals of an experiment, in a directory of their own. Dropped, nothing is left.
struct Laboratory {
    directory: PathBuf,
    shells: BTreeMap<usize, Shell>,
    numbers: Numbers,
}

impl Laboratory {
    fn open(number: usize) -> Laboratory {
        let name = format!("experiment_{number}_{}", Pid::this());
        let directory = env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Laboratory {
            directory,
            shells: BTreeMap::new(),
            numbers: Numbers::new(),
        }
    }

    /// Types all of it, and sees that nothing is left.
    fn run(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut later = steps;
        for steps in steps.chunk_by(|one, next| one.only_looks() && next.only_looks()) {
            later = &later[steps.len()..];
            let start = Instant::now();
            let numbers = self.numbers.clone();
            // A test is faster than a person, so it may have to look again.
            while let Err(why) = self.run_steps(steps, later) {
                if !steps[0].only_looks() || start.elapsed() > DEADLINE {
                    return Err(why);
                }
                self.numbers.clone_from(&numbers);
                thread::sleep(Duration::from_millis(50));
            }
        }
        for shell in self.shells.values_mut() {
            shell.shows_nothing_else()?;
            let bash = shell.terminal.pid();
            shell.wait("all programs to end", |_| {
                members_of_session(bash) == [bash]
            })?;
        }
        let files: Vec<_> = fs::read_dir(&self.directory).unwrap().collect();
        if files.is_empty() {
            Ok(())
        } else {
            Err(format!("files are left: {files:?}"))
        }
    }

    fn run_steps(&mut self, steps: &[Step], later: &[Step]) -> Result<(), String> {
        for (place, step) in steps.iter().enumerate() {
            let mut next = steps[place + 1..].iter().chain(later);
            let next = next.find(|next| next.terminal == step.terminal);
            let ends = next.is_none_or(|next| matches!(next.typed, Typed::Command(_)));
            self.run_step(step, ends)?;
        }
        Ok(())
    }

    /// `ends`: the prompt comes before anything else is typed at this terminal.
    fn run_step(&mut self, step: &Step, ends: bool) -> Result<(), String> {
        let shell = self.shells.entry(step.terminal);
        let shell = shell.or_insert_with(|| Shell::open(step.terminal, &self.directory));
        shell.type_in(&step.typed, &self.numbers)?;
        let start = Instant::now();
        loop {
            let shown = shell.look();
            let ended = shell.at_prompt;
            let is_right = (ended || !ends) && step.is_shown(&shown, &mut self.numbers);
            let over = start.elapsed() > DEADLINE || ended && step.only_looks();
            if is_right || over {
                shell.new.drain(..shown.len());
            }
            if is_right {
                shell.any_more = step.shown.last().is_some_and(|line| line == "…");
                return Ok(());
            }
            if over {
                let expected = step.shown.join("\n");
                let (line, number) = (step.line, step.terminal);
                return Err(format!(
                    "line {line}: terminal {number} is to show\n{expected}\n\nand shows\n{shown}\n\
                     The numbers are {:?}",
                    self.numbers
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The end of what each terminal has shown.
    fn screens(&self) -> String {
        let screen = |shell: &Shell| {
            let screen = shell.terminal.screen();
            let lines: Vec<_> = screen.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            format!("\nTerminal {}:\n{end}\n", shell.number)
        };
        self.shells.values().map(screen).collect()
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        for shell in self.shells.values() {
            // One of them may just have started another.
            let programs = || members_of_session(shell.terminal.pid());
            while !programs().is_empty() {
                for program in programs() {
                    let _ = kill(program, Signal::SIGKILL);
                }
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// bash in a terminal.
struct Shell {
    number: usize,
    terminal: Terminal,
    at_prompt: bool,
    /// How much of the screen is in `new`, or was.
    taken: usize,
    /// What no step has looked at, without the prompt.
    new: String,
    /// Whether it may show any more lines until something is typed.
    any_more: bool,
}

impl Shell {
    fn open(number: usize, directory: &Path) -> Shell {
        let programs = Path::new(TCPSERV).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)));
        // Without its line editor the terminal shows what is typed, not bash.
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "--noediting"]);
        bash.current_dir(directory).env_clear();
        bash.env("PATH", path.unwrap()).env("LC_ALL", "C");
        bash.env("PS1", format!("{number}$ "));
        bash.env("BASH_FUNC_sudo%%", "() { \"$@\"; }");
        Shell {
            number,
            terminal: Terminal::run(&mut bash, None),
            at_prompt: false,
            taken: 0,
            new: String::new(),
            any_more: false,
        }
    }

    fn type_in(&mut self, typed: &Typed, numbers: &Numbers) -> Result<(), String> {
        let (keys, echo) = match typed {
            Typed::Nothing => return Ok(()),
            Typed::Command(command) => {
                self.wait("the prompt", |shell| shell.at_prompt)?;
                let line = with_numbers(command, numbers) + "\n";
                (line.clone(), line)
            }
            Typed::Text(text) => {
                let bash = self.terminal.pid();
                self.wait("a program to run", |_| foreground(bash) != bash)?;
                match text.as_str() {
                    "^C" => ("\x03".to_owned(), text.clone()),
                    "^D" => ("\x04".to_owned(), String::new()),
                    "^Z" => ("\x1a".to_owned(), text.clone()),
                    _ => (format!("{text}\n"), format!("{text}\n")),
                }
            }
        };
        self.shows_nothing_else()?;
        self.at_prompt = false;
        self.terminal.keys(keys.as_bytes());
        self.wait("what is typed", |shell| shell.new.starts_with(&echo))?;
        self.new.drain(..echo.len());
        Ok(())
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Shell) -> bool) -> Result<(), String> {
        let start = Instant::now();
        loop {
            self.look();
            if is_so(self) {
                return Ok(());
            }
            if start.elapsed() > DEADLINE {
                return Err(format!("terminal {} waits in vain for {what}", self.number));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The whole lines that no step has looked at.
    fn look(&mut self) -> String {
        let screen = self.terminal.screen().replace('\r', "");
        self.new.push_str(&screen[self.taken..]);
        self.taken = screen.len();
        let prompt = format!("{}$ ", self.number);
        let mut starts = self.new.match_indices(&prompt).map(|(start, _)| start);
        let start = starts.find(|&start| start == 0 || self.new[..start].ends_with('\n'));
        if let Some(start) = start {
            self.new.replace_range(start..start + prompt.len(), "");
            self.at_prompt = true;
        }
        let end = self.new.rfind('\n').map_or(0, |newline| newline + 1);
        self.new[..end].to_owned()
    }

    fn shows_nothing_else(&mut self) -> Result<(), String> {
        let more = self.look();
        if self.any_more {
            self.new.drain(..more.len());
            return Ok(());
        }
        match more.trim() {
            "" => Ok(()),
            more => Err(format!("terminal {} also shows\n{more}", self.number)),
        }
    }
}
