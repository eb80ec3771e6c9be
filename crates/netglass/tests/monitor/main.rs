//! `netglass monitor` on files, on a real Unix socket and on a map: what it shows, what it accounts for,
//! and how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod files;
mod kernel;
#[cfg(feature = "ebpf")]
mod map;
mod sockets;
mod support;
mod usage;
mod vectors;
