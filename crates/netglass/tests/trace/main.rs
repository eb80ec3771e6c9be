//! `netglass trace` against real servers, in namespaces of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![cfg(feature = "trace")]

mod answering;
mod collector;
mod failing;
#[cfg(feature = "http3")]
mod http3;
mod options;
mod proxies;
mod recorded;
mod support;
mod tls;
mod tracking;
