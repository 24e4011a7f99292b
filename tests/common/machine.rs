//! Runs tests, or shows them as ignored, with the reason, if the machine does not allow them.

use super::{IS_ASKED, show_first};
use libtest_mimic::{Arguments, Completion, Trial};

pub type Test = (&'static str, fn());

/// Pairs each test function with its name: `tests![one, other]`.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => { [$((stringify!($test), $test as fn())),*] };
}

/// Creates trials, which are ignored, with the reason, unless this machine allows the tests.
pub fn trials(allowed: &Result<(), String>, tests: impl IntoIterator<Item = Test>) -> Vec<Trial> {
    let tests = tests.into_iter();
    let trial = |(name, test)| trial(name, allowed.clone(), test);
    tests.map(trial).collect()
}

pub fn trial(
    name: impl Into<String>,
    allowed: Result<(), String>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match allowed {
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(()) => {
            show_first();
            test();
            Ok(Completion::Completed)
        }
    })
}

/// Runs the tests like the standard harness, at most `threads` at a time (one with `--nocapture`).
pub fn run(trials: Vec<Trial>, threads: usize) -> ! {
    let threads = if *IS_ASKED { 1 } else { threads };
    let mut arguments = Arguments::from_args();
    let asked = arguments.test_threads.unwrap_or(threads);
    arguments.test_threads = Some(asked.min(threads));
    libtest_mimic::run(&arguments, trials).exit()
}
