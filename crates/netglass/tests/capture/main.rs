//! `netglass capture` on files and on interfaces: what it logs, what it accounts for, and how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod ending;
mod files;
mod frames;
#[cfg(feature = "ebpf")]
mod in_kernel;
mod interfaces;
mod logs;
mod owners;
mod packet_files;
mod public;
mod support;
mod usage;
