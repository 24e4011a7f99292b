//! Runs the experiments in src/doc/laboratory.md and the sessions in README, as the first section
//! of the laboratory explains.
//!
//! `PACE=2 cargo test --test documents experiment_2 -- --nocapture` plays an experiment:
//! `1$ command` and `1> text` are input to terminal 1, and `1| line` is its output. The player
//! pauses for PACE seconds before each step (0 by default, at most 10).

use crate::common::terminal::Terminal;
use crate::common::*;
use crate::texts::{TEXTS, blocks};
use crate::transcript::{Numbers, Step, Typed, steps, with_numbers};
use nix::sys::signal::kill;
use nix::unistd::mkdtemp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, mem};

/// The heading of the section whose commands are typed before each experiment.
const ONCE: &str = "How to read an experiment";

/// Returns the steps in each section that has any, with a name such as
/// `experiment_1_one_session_on_one_time_line`.
pub fn experiments() -> Vec<(String, Vec<Step>)> {
    let mut experiments = Vec::new();
    for text in TEXTS {
        let mut blocks = blocks(text);
        blocks.retain(|block| block.kind == "console");
        let (once, blocks): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.section == ONCE);
        for blocks in blocks.chunk_by(|one, next| one.section == next.section) {
            let section = &blocks[0].section;
            let has_number = section.starts_with(|c: char| c.is_ascii_digit());
            let name = if has_number { "experiment" } else { text };
            let name = format!("{name} {section}").to_lowercase();
            let words = name.split(|c: char| !c.is_alphanumeric() && c != '_');
            let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
            let mut typed = steps(&once);
            typed.extend(steps(blocks));
            experiments.push((words.join("_"), typed));
        }
    }
    experiments
}

/// Checks that the tools used in these steps work.
///
/// # Errors
/// Names a tool that is missing or forbidden.
pub fn try_tools(steps: &[Step]) -> Result<(), String> {
    // tcpdump drops its privileges even to read a file. This file contains no packets.
    let no_packets = r"printf '\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\0\0'";
    for (tool, command) in [
        ("ss", "ss --version"),
        ("ps", "ps --version"),
        ("python3", "python3 --version"),
        ("strace", "strace -o /dev/null true"),
        ("tcpdump", &format!("{no_packets} | {} -r -", tcpdump())),
    ] {
        let has = |step: &Step| match &step.typed {
            Typed::Command(command) => command.split(' ').any(|word| word == tool),
            _ => false,
        };
        if steps.iter().any(has) {
            if tool == "strace" && cfg!(not(target_env = "gnu")) {
                return Err("the C library is not glibc: it makes other system calls".to_owned());
            }
            let tried = Command::new("bash").args(["-c", command]).output();
            let tried = tried.map_err(|why| format!("bash: {why}"))?;
            if !tried.status.success() {
                let said = String::from_utf8_lossy(&tried.stderr);
                return Err(said.lines().last().unwrap_or(tool).to_owned());
            }
        }
    }
    Ok(())
}

/// The command to run tcpdump, which switches to another user. An ordinary user's namespace does
/// not allow this switch, so there strace makes the system calls return 0.
fn tcpdump() -> &'static str {
    match fs::read_to_string("/proc/self/setgroups").as_deref() {
        Ok("deny\n") => "strace -qqo /dev/null -e inject=/set[gu]:retval=0 tcpdump",
        _ => "command tcpdump",
    }
}

/// The terminals of an experiment, in a temporary directory. Drop kills the terminals' programs.
pub struct Laboratory {
    directory: PathBuf,
    shells: BTreeMap<usize, Shell>,
    numbers: Numbers,
    /// The input and output of steps that change nothing.
    looks: String,
    pace: Duration,
}

impl Laboratory {
    pub fn open() -> Laboratory {
        let pace = env::var("PACE").ok().filter(|_| *IS_ASKED);
        let pace = pace.map_or(0.0_f64, |pace| pace.parse().expect("PACE is not a number"));
        Laboratory {
            directory: mkdtemp(&env::temp_dir().join("laboratory.XXXXXX")).unwrap(),
            shells: BTreeMap::new(),
            numbers: Numbers::new(),
            looks: String::new(),
            // At a slower pace, states that last 60 seconds would expire.
            pace: Duration::from_secs_f64(pace.clamp(0.0, 10.0)),
        }
    }

    /// Runs an experiment, and checks that it leaves nothing behind.
    pub fn run(&mut self, steps: &[Step]) {
        for steps in steps.chunk_by(|one, next| one.only_looks() && next.only_looks()) {
            self.pause();
            let start = Instant::now();
            let numbers = self.numbers.clone();
            // A test is faster than a person, so it may have to look more than once.
            while let Err(why) = steps.iter().try_for_each(|step| self.run_step(step)) {
                let again = steps[0].only_looks() && start.elapsed() < DEADLINE;
                assert!(again, "{why}The numbers are {:?}", self.numbers);
                self.numbers.clone_from(&numbers);
                self.looks.clear();
                thread::sleep(Duration::from_millis(50));
            }
            play(&mem::take(&mut self.looks));
        }
        for shell in self.shells.values_mut() {
            shell.shows_nothing_else();
            let bash = shell.terminal.pid();
            let over = || members_of_session(bash) == [bash];
            wait_until("all programs to end", over);
        }
        let files: Vec<_> = fs::read_dir(&self.directory).unwrap().collect();
        assert!(files.is_empty(), "these are left: {files:?}");
    }

    /// Gives the reader time to read.
    fn pause(&mut self) {
        let start = Instant::now();
        while start.elapsed() < self.pace {
            self.play_any_more();
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Plays new output in terminals that may show any number of lines.
    fn play_any_more(&mut self) {
        let shells = self.shells.values_mut();
        shells.filter(|shell| shell.any_more).for_each(Shell::play);
    }

    /// Types a step. If the output is not as expected, returns it as an error.
    fn run_step(&mut self, step: &Step) -> Result<(), String> {
        let (number, looks) = (step.terminal, step.only_looks());
        let typed = match &step.typed {
            Typed::Command(line) => format!("{number}$ {}\n", with_numbers(line, &self.numbers)),
            Typed::Text(text) => format!("{number}> {text}\n"),
            Typed::Nothing => format!("{number}>\n"),
        };
        let shell = self.shells.entry(number);
        let shell = shell.or_insert_with(|| Shell::open(number, &self.directory));
        shell.type_in(&step.typed, &self.numbers, if looks { "" } else { &typed });
        if step.shown.is_empty() && !step.ends {
            return Ok(()); // the output belongs to this terminal's next step
        }
        let start = Instant::now();
        loop {
            self.play_any_more();
            let shell = self.shells.get_mut(&number).unwrap();
            let shown = shell.look();
            if !looks {
                shell.play();
            }
            let ended = shell.at_prompt;
            let is_right = (ended || !step.ends) && step.is_shown(&shown, &mut self.numbers);
            let over = start.elapsed() > DEADLINE || ended && step.only_looks();
            if is_right || over {
                if looks {
                    self.looks += &(typed + &lines(number, &shown));
                }
                shell.take(shown.len());
                shell.any_more = step.shown.last().is_some_and(|line| line == "…");
                shell.had_any = step.shown.iter().any(|line| line == "…");
                let wrong = format!("{step}\n\nand this comes:\n{shown}\n");
                return is_right.then_some(()).ok_or(wrong);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        for shell in self.shells.values() {
            if thread::panicking() {
                let screen = shell.terminal.screen();
                eprintln!("\nTerminal {}:\n{screen}", shell.number);
            }
            // A program may have just started another one.
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
    /// How much of the screen has been copied to `new`.
    taken: usize,
    /// Output that no step has matched yet, without the prompt.
    new: String,
    /// How much of `new` has been played.
    played: usize,
    /// Whether any number of lines may appear until something is typed.
    any_more: bool,
    /// Whether the last step showed any number of lines.
    had_any: bool,
}

impl Shell {
    fn open(number: usize, directory: &Path) -> Shell {
        let programs = Path::new(TCPSERV).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)));
        // Without bash's line editor, the terminal itself echoes what is typed.
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "--noediting"]);
        bash.current_dir(directory).env_clear();
        bash.env("PATH", path.unwrap());
        // Until LC_ALL is set, bash prints messages in Chinese where they are installed.
        bash.env("LANG", "C.UTF-8").env("LANGUAGE", "zh_CN");
        bash.env("PS1", format!("{number}$ "));
        bash.env("BASH_FUNC_sudo%%", "() { \"$@\"; }");
        let tcpdump = format!("() {{ {} \"$@\"; }}", tcpdump());
        bash.env("BASH_FUNC_tcpdump%%", tcpdump);
        Shell {
            number,
            terminal: Terminal::run(&mut bash, None),
            at_prompt: false,
            taken: 0,
            new: String::new(),
            played: 0,
            any_more: false,
            had_any: false,
        }
    }

    /// Types the input of a step, and plays `line`.
    fn type_in(&mut self, typed: &Typed, numbers: &Numbers, line: &str) {
        let (keys, echo) = match typed {
            Typed::Nothing => return play(line),
            Typed::Command(command) => {
                self.wait("the prompt", |shell| shell.at_prompt);
                let line = with_numbers(command, numbers) + "\n";
                (line.clone(), line)
            }
            Typed::Text(text) => {
                let bash = self.terminal.pid();
                self.wait("a program to run", |_| foreground(bash) != bash);
                match text.as_str() {
                    "^C" => ("\x03".to_owned(), text.clone()),
                    "^D" => ("\x04".to_owned(), String::new()),
                    "^Z" => ("\x1a".to_owned(), text.clone()),
                    _ => (format!("{text}\n"), format!("{text}\n")),
                }
            }
        };
        // Among any lines, the last one shown may not be the last one printed before ^C.
        self.any_more |= self.had_any && echo == "^C";
        self.shows_nothing_else();
        play(line);
        self.at_prompt = false;
        self.terminal.keys(keys.as_bytes());
        // If a step allows any lines, some of them may precede the echo.
        let place = |shell: &Shell| match shell.any_more {
            true => shell.new.find(&echo),
            false => shell.new.starts_with(&echo).then_some(0),
        };
        self.wait("what is typed", |shell| place(shell).is_some());
        let end = place(self).unwrap() + echo.len();
        self.take(end);
        self.any_more = false;
    }

    /// Plays the output that has not been played yet.
    fn play(&mut self) {
        let shown = self.look();
        let more = shown.get(self.played..).unwrap_or_default();
        play(&lines(self.number, more));
        self.played = self.played.max(shown.len());
    }

    /// Removes the output that a step has matched.
    fn take(&mut self, end: usize) {
        self.new.drain(..end);
        self.played = self.played.saturating_sub(end);
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Shell) -> bool) {
        let what = format!("{what} in terminal {}", self.number);
        wait_until(what, || {
            self.look();
            is_so(self)
        });
    }

    /// Returns the complete lines that no step has matched.
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

    fn shows_nothing_else(&mut self) {
        self.play();
        let more = self.look();
        let number = self.number;
        assert!(
            self.any_more || more.trim().is_empty(),
            "terminal {number} shows also\n{more}"
        );
        self.take(more.len());
    }
}

/// Formats a terminal's output for a reader.
fn lines(number: usize, shown: &str) -> String {
    let lines = shown.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{number}| {line}\n")).collect()
}

fn play(lines: &str) {
    if *IS_ASKED {
        print!("{lines}");
    }
}
