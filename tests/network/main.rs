//! The segments of the real programs, in a network that each test makes for itself: the test is the
//! other host, or the cable between tcpcli and tcpserv.
//!
//! Needs network namespaces, which not every machine allows, and `ip` of iproute2.
//! Without them each test is shown as ignored, with the reason.

mod addresses;
#[path = "../common/mod.rs"]
mod common;
mod dead_links;
mod figures;
mod handshake;
mod namespace;
mod output;
mod peer;
mod plain;
mod session;
mod simultaneous;
mod termination;
mod wire;

use addresses::*;
use common::machine;
use dead_links::*;
use figures::*;
use handshake::*;
use output::*;
use plain::*;
use simultaneous::*;
use termination::*;

fn main() {
    plain::run_if_asked();
    namespace::close_inherited_descriptors_in_children();
    // It cannot be done beside a second thread.
    let allowed = namespace::allow();
    let tests = tests![
        s1_addresses_of_both_families_reach_the_server_and_the_trace_knows_them,
        connect_fails_when_the_ephemeral_ports_are_used_up,
        w1_a2_a6_connect_returns_when_the_servers_syn_has_come,
        w2_a3_a_syn_is_answered_without_the_process_and_the_answer_is_sent_again,
        w1_w3_a4_an_entry_stays_in_syn_rcvd_until_the_third_segment_then_accept_returns,
        w3_an_entry_is_dropped_after_a_time_out,
        a5_a_reset_in_syn_rcvd_removes_the_entry_and_the_server_listens_on,
        a8_no_answer_or_a_reset_or_the_end_of_the_client_leads_from_syn_sent_to_closed,
        w4_data_goes_in_pieces_of_at_most_the_mss_that_the_peer_named,
        w5_what_was_sent_is_kept_until_it_is_acknowledged_and_sent_again,
        a_second_small_echo_does_not_wait_for_the_ack_of_the_first,
        w6_three_segments_end_a_connection_when_the_child_is_quick,
        w7_the_server_sends_data_after_the_clients_fin,
        w8_a14_time_wait_answers_a_second_fin_with_the_last_ack_again,
        w8_a18_a19_the_server_sends_its_fin_again_until_the_last_ack_comes,
        a10_a13_fin_wait_2_of_a_client_that_has_exited_ends_after_tcp_fin_timeout,
        h1_after_a_close_data_is_answered_with_a_reset,
        w9_an_old_duplicate_in_time_wait_is_discarded,
        w10_the_end_in_time_wait_starts_no_new_incarnation,
        w10_over_loopback_the_end_in_time_wait_starts_one_after_a_second,
        w10_in_time_wait_a_syn_that_may_be_old_is_refused_and_a_newer_one_is_taken,
        a9_when_the_parent_is_killed_the_clients_in_its_queue_get_a_reset,
        a7_simultaneous_open_goes_from_syn_sent_by_syn_rcvd_to_established,
        a11_a_client_that_is_killed_in_syn_rcvd_sends_a_fin,
        a15_a17_simultaneous_close_goes_from_fin_wait_1_by_closing_to_time_wait,
        d1_w11_f11_segments_go_to_the_socket_of_their_four_tuple_or_to_the_listening_one,
        w12_the_kernel_chooses_the_source_address_by_route,
        w13_w6_a12_a16_f2_f7_f8_f10_the_figures_show_the_session_with_a_stopped_child,
        the_plain_listings_echo_a_line_and_end_with_a_zombie,
        f1_a_line_goes_through_the_calls_of_the_figure,
        f6_an_entry_goes_from_syn_rcvd_to_established_and_the_queue_holds_backlog_and_one,
        lines_typed_during_a_cut_of_a_second_arrive_after_it,
        a_host_that_vanishes_or_reboots_ends_the_client,
        keepalive_ends_the_child_of_a_client_that_vanished,
    ];
    let ipv6_allowed = allowed.clone().and_then(|()| namespace::ipv6());
    let mut trials = Vec::new();
    for (name, test) in tests {
        let needs_ipv6 = name.starts_with("s1_");
        let allowed = if needs_ipv6 { &ipv6_allowed } else { &allowed };
        trials.push(machine::trial(name, allowed.clone(), move || {
            namespace::enter().unwrap();
            test();
        }));
    }
    machine::run(trials, 8); // they wait for the kernel's timers most of the time
}
