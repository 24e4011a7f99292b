//! The segments of the real programs, in a network that each test makes for itself: read
//! off lo between tcpcli and tcpserv, or exchanged with one of them by the test, which
//! plays the other host.
//!
//! Needs network namespaces, which not every machine allows, and `ip` of iproute2.
//! Without them each test is shown as ignored, with the reason.

#[path = "../common/mod.rs"]
mod common;
mod handshake;
mod namespace;
mod peer;
mod wire;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

macro_rules! tests {
    ($($module:ident { $($name:ident,)+ })+) => {
        [$($((stringify!($name), $module::$name as fn())),+),+]
    };
}

fn main() -> ExitCode {
    // First of all: it cannot be done beside a second thread.
    let allowed = namespace::allow();
    let tests = tests! {
        handshake {
            w1_three_segments_open_a_connection,
            w1_connect_returns_when_the_servers_syn_has_come,
            w1_accept_returns_when_the_third_segment_has_come,
            w2_a_syn_is_answered_without_the_process_and_the_answer_is_sent_again,
            w3_an_entry_stays_in_syn_rcvd_until_the_third_segment,
            w3_an_entry_is_dropped_after_a_time_out,
            w11_segments_go_to_the_socket_of_their_four_tuple_or_to_the_listening_one,
            w12_the_kernel_chooses_the_source_address_by_route,
        }
    };
    let trials = tests.map(|(name, test)| {
        let allowed = allowed.clone();
        Trial::ignorable_test(name, move || run(allowed, test))
    });

    let mut arguments = Arguments::from_args();
    // They wait for the kernel's timers most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn run(allowed: Result<(), String>, test: fn()) -> Result<Completion, Failed> {
    if let Err(reason) = allowed {
        return Ok(Completion::ignored_with(reason));
    }
    namespace::enter()?;
    test();
    Ok(Completion::Completed)
}
