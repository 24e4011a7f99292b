//! The longer documents, as modules.

#[doc = include_str!("laboratory.md")]
pub mod laboratory {}

#[doc = include_str!("own_server.md")]
#[doc = concat!("```no_run\n", include_str!("own_server.rs"), "```")]
pub mod own_server {}

#[doc = include_str!("figures.md")]
pub mod figures {}

#[doc = include_str!("without_the_line.md")]
pub mod without_the_line {}
