//! An HTTP client that tells of every network operation behind a request: names that are looked
//! up, connections that are tried, handshakes, requests, and the reads and writes below them.
//!
//! The client is made by [`TracedClient::builder`]; [`TracedClient::trace`] tells what happened.

mod alternative_services;
mod body;
pub mod capture;
mod client;
pub mod clock;
mod connection;
mod connection_log;
mod connector;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod http2_frames;
#[cfg(feature = "http3")]
mod http3;
#[cfg(not(feature = "http3"))]
#[path = "http3/absent.rs"]
mod http3;
mod incoming;
mod kernel;
pub mod nettrace;
mod observed;
mod pool;
mod proxy;
#[cfg(feature = "http3")]
mod quic;
#[cfg(not(feature = "http3"))]
#[path = "quic/absent.rs"]
mod quic;
pub mod record;
mod recorder;
mod resolver;
mod service;
pub mod settings;
mod socket;
mod stream;
mod tls;
mod transport;
mod upgrade;

pub use body::{RequestBody, ResponseBody};
pub use client::{Builder, RequestOptions, TracedClient};
pub use error::Error;
pub use proxy::{ProxyChoice, ProxyFunction};
pub use record::HttpTrace;
pub use upgrade::{Upgraded, upgrade};
