//! Tests of what a machine may forbid: they are shown as ignored there, with the reason.

use super::{IS_ASKED, show_first};
use libtest_mimic::{Arguments, Completion, Trial};

pub type Test = (&'static str, fn());

/// Names each test function: `tests![one, other]`.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => { [$((stringify!($test), $test as fn())),*] };
}

/// Tests that are ignored, with the reason, where this machine has not got what they need.
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

/// Runs the tests as the standard harness does, at most so many at a time. If they show what they
/// see, they run one by one.
pub fn run(trials: Vec<Trial>, threads: usize) -> ! {
    let threads = if *IS_ASKED { 1 } else { threads };
    let mut arguments = Arguments::from_args();
    let asked = arguments.test_threads.unwrap_or(threads);
    arguments.test_threads = Some(asked.min(threads));
    libtest_mimic::run(&arguments, trials).exit()
}
