//! Captured packets.

use serde::{Deserialize, Serialize};

/// What was captured on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSummary {
    /// The interface.
    pub interface: String,
    /// The most bytes that are kept of a packet.
    pub snapshot_length: u32,
    /// Packets that belong to the trace.
    pub packets: u64,
    /// Their bytes, as far as they are kept.
    pub bytes: u64,
    /// Whether there were more than the limit allows.
    pub truncated: bool,
    /// Packets that the kernel had no room for.
    pub dropped_by_kernel: u64,
    /// Packets after the limit.
    pub dropped_by_limit: u64,
    /// Why nothing is captured.
    pub error: Option<String>,
}

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketDirection {
    /// It came in.
    Inbound,
    /// It went out.
    Outbound,
    /// Nobody can tell.
    Unknown,
}

/// A packet that belongs to a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// How long it was on the wire.
    pub original_length: u32,
    /// What is kept of it, from its link layer on.
    pub data: Vec<u8>,
    /// Which way it went.
    pub direction: PacketDirection,
}
