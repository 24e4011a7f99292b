//! The longer documents, as modules.

/// The pages' links as paths. Each page also defines its labels at its end, as files for a code
/// host, but in Markdown the first definition counts. (The state transition diagram is not here;
/// the introduction to the figures says where it is.)
macro_rules! labels {
    () => {
        "
[laboratory]: crate::doc::laboratory
[experiment-1]: crate::doc::laboratory#1-one-session-on-one-time-line
[experiment-2]: crate::doc::laboratory#2-the-states-step-by-step
[experiment-3]: crate::doc::laboratory#3-two-clients
[experiment-4]: crate::doc::laboratory#4-the-two-queues
[experiment-5]: crate::doc::laboratory#5-half-close
[experiment-6]: crate::doc::laboratory#6-bind-and-time_wait
[experiment-7]: crate::doc::laboratory#7-a-full-send-buffer
[experiment-8]: crate::doc::laboratory#8-zombies
[experiment-9]: crate::doc::laboratory#9-fork-and-exec
[figures]: crate::doc::figures
[states]: crate::doc::figures
[own_server]: crate::doc::own_server
[program]: crate::doc::own_server#the-program
[without_the_line]: crate::doc::without_the_line
[l1]: crate::doc::without_the_line::l1_without_close_connfd
[l2]: crate::doc::without_the_line::l2_without_close_listenfd
[l3]: crate::doc::without_the_line::l3_without_signal
[l4]: crate::doc::without_the_line::l4_without_so_reuseaddr
[s17]: crate::doc::without_the_line::s17_after_close
"
    };
}

#[doc = labels!()]
#[doc = include_str!("laboratory.md")]
pub mod laboratory {}

#[doc = labels!()]
#[doc = include_str!("own_server.md")]
#[doc = concat!("```no_run\n", include_str!("own_server.rs"), "```")]
pub mod own_server {}

#[doc = labels!()]
#[doc = include_str!("figures.md")]
pub mod figures {}

#[doc = labels!()]
#[doc = include_str!("without_the_line.md")]
pub mod without_the_line {
    // Each example has its own module, because `cargo test --doc l1_` selects tests by module name.
    #[doc = include_str!("without_the_line/l1.md")]
    pub mod l1_without_close_connfd {}

    #[doc = include_str!("without_the_line/l2.md")]
    pub mod l2_without_close_listenfd {}

    #[doc = include_str!("without_the_line/l3.md")]
    pub mod l3_without_signal {}

    #[doc = include_str!("without_the_line/l4.md")]
    pub mod l4_without_so_reuseaddr {}

    #[doc = include_str!("without_the_line/s17.md")]
    pub mod s17_after_close {}
}
