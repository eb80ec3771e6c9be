//! An HTTP client that tells of every network operation behind a request: names that are looked
//! up, connections that are tried, handshakes, requests, and the reads and writes below them.
//!
//! The client is made by [`TracedClient::builder`]; [`TracedClient::trace`] tells what happened.

pub mod clock;
mod connection_log;
mod error;
pub mod record;

pub use error::Error;
pub use record::HttpTrace;
