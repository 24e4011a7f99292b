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
        trial(name, move || ignored.map_or(Ok(()), Err), test)
    };
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// A test that is ignored, with the reason, where this machine has not got what it needs.
pub fn trial(
    name: impl Into<String>,
    needs: impl FnOnce() -> Result<(), String> + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match needs() {
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(()) => {
            test();
            Ok(Completion::Completed)
        }
    })
}
