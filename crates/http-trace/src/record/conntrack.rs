//! Connections as the kernel tracks them.

use serde::{Deserialize, Serialize};

use super::AddressTuple;
use crate::{clock::Moment, nettrace::tcp_state};

/// A connection as the kernel's connection tracking knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackEntry {
    /// When it was asked for or told of.
    pub captured_at: Moment,
    /// `enum ip_conntrack_status`.
    pub status: u32,
    /// `enum tcp_conntrack`; nothing for UDP.
    pub tcp_state: Option<u8>,
    /// The mark of the connection.
    pub mark: u32,
    /// From the client, before translation.
    pub original: AddressTuple,
    /// From the server, after translation.
    pub reply: AddressTuple,
    /// Packets of the original direction, where the kernel counts them.
    pub packets_sent: u64,
    /// Packets of the reply direction.
    pub packets_received: u64,
    /// Bytes of the original direction, with the headers of IP.
    pub bytes_sent: u64,
    /// Bytes of the reply direction.
    pub bytes_received: u64,
    /// What the kernel told of it by itself, in order; nothing where it was only asked.
    #[serde(default)]
    pub events: Vec<ConntrackEvent>,
    /// How many more there were than are kept.
    #[serde(default)]
    pub dropped_events: u64,
}

/// What happened to a tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackEvent {
    /// When it was told.
    pub at: Moment,
    /// What.
    pub kind: ConntrackEventKind,
    /// Since then, `enum ip_conntrack_status`.
    pub status: u32,
    /// Since then, `enum tcp_conntrack`; nothing for UDP.
    pub tcp_state: Option<u8>,
}

impl ConntrackEvent {
    /// The state of TCP since then, in words.
    #[must_use]
    pub fn tcp_state_name(&self) -> Option<&'static str> {
        self.tcp_state.map(tcp_state)
    }
}

/// What can happen to a tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConntrackEventKind {
    /// It is tracked from then on.
    New,
    /// It has another state.
    Updated,
    /// It is not tracked any more.
    Destroyed,
}
