//! Tests of what a machine may forbid: they are shown as ignored there, with the reason.

use libtest_mimic::{Arguments, Completion, Trial};

/// A test and its name.
pub type Test = (&'static str, fn());

/// Names each test function: `tests![one, other]`.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => { [$((stringify!($test), $test as fn())),*] };
}

/// Runs the tests as the standard harness does, or shows each as ignored, with the reason.
pub fn run(ignored: Option<String>, tests: impl IntoIterator<Item = Test>) -> ! {
    let trial = |(name, test): Test| {
        let ignored = ignored.clone();
        Trial::ignorable_test(name, move || match ignored {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                test();
                Ok(Completion::Completed)
            }
        })
    };
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
