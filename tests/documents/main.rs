//! The texts are true: the experiments show what stands there, each claim has its test, and what a
//! text names exists.
//!
//! The experiments need network namespaces, and the tools that they type. Without them they are
//! shown as ignored, with the reason.

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod experiments;
mod figures;
mod links;
#[allow(dead_code)] // the tests of the segments use all of it
#[path = "../network/namespace.rs"]
mod namespace;
mod options;
mod rendered;
mod texts;
mod transcript;

use claims::*;
use common::machine;
use experiments::*;
use figures::*;
use links::*;
use options::*;
use transcript::a_terminal_shows_what_stands_in_the_text_but_for_what_may_differ;

fn main() {
    namespace::close_inherited_descriptors_in_children();
    // It cannot be done beside a second thread.
    let allowed = namespace::allow();
    let tests = tests![
        each_claim_has_a_test_and_each_test_with_an_id_has_a_claim,
        the_claims_of_the_arrows_are_the_arrows_of_the_diagrams,
        each_link_leads_to_a_file_and_to_a_heading_in_it,
        each_id_in_the_texts_has_a_claim,
        each_name_in_the_texts_is_that_of_a_file_a_test_or_something_in_the_code,
        a_terminal_shows_what_stands_in_the_text_but_for_what_may_differ,
        f9_the_thick_arrows_are_the_usual_paths_of_client_and_server,
        readme_has_the_plain_server_as_it_is_compiled,
        the_chinese_readme_has_the_commands_and_sessions_of_readme,
        the_chinese_readme_has_each_claim_in_the_rows_of_its_section,
        each_example_of_a_missing_line_is_shown_whole,
        each_option_in_the_texts_exists,
        readme_names_each_option,
    ];
    let mut trials = machine::trials(&Ok(()), tests);
    trials.push(rendered::trial());
    for (name, steps) in experiments() {
        let allowed = allowed.clone().and_then(|()| try_tools(&steps));
        trials.push(machine::trial(name, allowed, move || {
            namespace::enter().unwrap();
            Laboratory::open().run(&steps);
        }));
    }
    machine::run(trials, 8); // they wait for terminals and for the kernel's timers most of the time
}
