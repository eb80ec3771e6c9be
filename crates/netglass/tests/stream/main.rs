//! `netglass stream` against real programs, and against what strace says of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![cfg(feature = "ebpf")]

mod command;
mod selection;
mod strace;
mod summary;
mod support;
mod uring;
