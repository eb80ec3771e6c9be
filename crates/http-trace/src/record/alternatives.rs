//! Where else a response says that the same is to be had.

use serde::{Deserialize, Serialize};

/// What the header `Alt-Svc` says (RFC 7838).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AlternativeServices {
    /// Whether all that was said before is to be forgotten.
    pub clear: bool,
    /// The services, in the server's order of preference.
    pub services: Vec<AlternativeService>,
    /// Services after the most that are kept.
    pub dropped: u64,
    /// What is wrong with it. What came before that is kept.
    pub malformed: Option<String>,
}

/// A place where the same is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternativeService {
    /// The protocol (ALPN), as `h3`.
    pub protocol: String,
    /// The host; nothing where it is the same.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// How many seconds it holds.
    pub max_age: u64,
    /// Whether it outlives a change of network.
    pub persist: bool,
}
