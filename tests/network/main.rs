//! Tests of the segments that the real programs send. Each test runs in its own network namespace
//! and plays the other host, or the cable between tcpcli and tcpserv.
//!
//! Without network namespaces, which not every machine allows, and `ip` from iproute2, the tests
//! are reported as ignored, with the reason.

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
    // Only a single-threaded process can make this call.
    let allowed = namespace::allow();
    let tests = tests![
        s1_clients_connect_over_ipv4_and_ipv6_and_the_trace_shows_their_states,
        connect_fails_when_the_ephemeral_ports_are_used_up,
        w1_a2_a6_connect_returns_when_the_servers_syn_arrives,
        w2_a3_the_kernel_answers_a_syn_without_the_process_and_retransmits_the_answer,
        w1_w3_a4_an_entry_stays_in_syn_rcvd_until_the_third_segment_then_accept_returns,
        w3_an_entry_is_dropped_after_a_timeout,
        a5_an_rst_in_syn_rcvd_removes_the_entry_and_the_server_keeps_listening,
        a8_a_timeout_an_rst_or_sigkill_leads_from_syn_sent_to_closed,
        w4_data_is_sent_in_segments_of_at_most_the_mss_that_the_peer_announced,
        w5_data_is_kept_until_it_is_acknowledged_and_retransmitted_if_no_ack_arrives,
        a_second_small_echo_does_not_wait_for_the_ack_of_the_first,
        w6_a_quick_child_closes_the_connection_with_three_segments,
        w7_the_server_sends_data_after_the_clients_fin,
        w8_a14_in_time_wait_a_retransmitted_fin_is_acknowledged_again,
        w8_a18_a19_the_server_retransmits_its_fin_until_the_last_ack_arrives,
        a10_a13_after_the_client_exits_fin_wait_2_lasts_for_tcp_fin_timeout,
        h1_data_that_arrives_after_a_close_is_answered_with_an_rst,
        w9_an_old_duplicate_in_time_wait_is_discarded,
        w10_the_end_in_time_wait_does_not_start_a_new_incarnation,
        w10_over_loopback_a_new_incarnation_can_start_after_a_second,
        w10_in_time_wait_a_newer_syn_is_accepted_but_not_one_that_may_be_old,
        a9_when_the_parent_is_killed_the_clients_in_its_queue_receive_an_rst,
        a7_simultaneous_open_goes_from_syn_sent_through_syn_rcvd_to_established,
        a11_a_client_that_is_killed_in_syn_rcvd_sends_a_fin,
        a15_a17_simultaneous_close_goes_from_fin_wait_1_through_closing_to_time_wait,
        d1_w11_f11_segments_go_to_the_socket_of_their_four_tuple_or_to_the_listening_one,
        w12_the_kernel_chooses_the_source_address_from_the_routing_table,
        w13_w6_a12_a16_f2_f7_f8_f10_the_figures_show_the_session_with_a_stopped_child,
        the_plain_listings_echo_a_line_and_leave_a_zombie,
        f1_a_line_goes_through_the_calls_of_the_figure,
        f6_an_entry_goes_from_syn_rcvd_to_established_and_the_queue_holds_backlog_and_one,
        lines_typed_while_the_link_is_down_arrive_when_it_is_up_again,
        the_client_terminates_when_its_server_host_vanishes_or_reboots,
        keepalive_terminates_the_child_of_a_client_that_vanished,
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
    machine::run(trials, 8); // most tests wait for kernel timers
}
