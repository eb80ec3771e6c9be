//! Capture files beside what Wireshark's programs make of the same ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests, their helpers included"
)]

mod reading;
mod support;
mod writing;
