//! Tests of the documentation: the experiments print what the texts show, each claim has a test,
//! and everything that a text names exists.
//!
//! An experiment that lacks network namespaces or one of its tools is reported as ignored, with
//! the reason.

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod experiments;
mod figures;
mod links;
#[allow(dead_code)] // only tests/network uses everything
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
use transcript::a_terminal_must_show_what_the_text_shows_except_where_they_may_differ;

fn main() {
    namespace::close_inherited_descriptors_in_children();
    // Only a single-threaded process can make this call.
    let allowed = namespace::allow();
    let tests = tests![
        each_claim_has_a_test_and_each_test_with_an_id_has_a_claim,
        the_claims_about_arrows_match_the_arrows_in_the_diagrams,
        each_link_leads_to_an_existing_file_and_heading,
        each_id_in_the_texts_has_a_claim,
        each_name_in_the_texts_exists_as_a_file_a_test_or_in_the_code,
        a_terminal_must_show_what_the_text_shows_except_where_they_may_differ,
        f9_the_thick_arrows_are_the_usual_paths_of_client_and_server,
        readme_shows_the_plain_server_exactly_as_compiled,
        the_chinese_readme_has_the_same_commands_and_sessions_as_readme,
        the_chinese_readme_has_each_claim_in_the_rows_of_its_section,
        each_example_of_a_missing_line_is_shown_in_full,
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
    machine::run(trials, 8); // most tests wait for terminals and kernel timers
}
