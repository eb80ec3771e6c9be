//! The client against servers of its own, well-behaved and hostile ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "client/batches.rs"]
mod batches;
#[path = "client/dns.rs"]
mod dns;
#[path = "client/hostile.rs"]
mod hostile;
#[path = "client/http2.rs"]
mod http2;
#[cfg(feature = "http3")]
#[path = "client/http3.rs"]
mod http3;
#[cfg(feature = "http3")]
#[path = "client/http3_failing.rs"]
mod http3_failing;
#[path = "client/phases.rs"]
mod phases;
#[path = "client/plain.rs"]
mod plain;
#[path = "client/redirects.rs"]
mod redirects;
#[path = "client/references.rs"]
mod references;
#[path = "client/servers.rs"]
mod servers;
#[path = "client/settings.rs"]
mod settings;
#[path = "client/tls.rs"]
mod tls;
