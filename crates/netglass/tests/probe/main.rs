//! `netglass probe` and `netglass up` on real sockets of real programs, each test in network
//! namespaces of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bounds;
mod chain;
mod churn;
mod counting;
mod direction;
mod fleet;
mod hanging;
mod ladder;
mod owners;
mod privileges;
mod selection;
mod sources;
mod streaming;
mod streaming_existing;
mod support;
mod translation;
mod up;
