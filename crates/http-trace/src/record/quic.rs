//! QUIC connections.

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::clock::Moment;

/// What is true of a UDP socket that QUIC is spoken over (RFC 9000). Connection identifiers are
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuicConnection {
    /// The version that is spoken, by its number.
    pub version: u32,
    /// The versions that the server named because it does not speak ours.
    #[serde(default)]
    pub offered_versions: Vec<u32>,
    /// Whether the server had us prove that our address is ours first (`Retry`).
    #[serde(default)]
    pub retried: bool,
    /// When the handshake began.
    pub handshake_began_at: Moment,
    /// When it ended. With early data, requests may be sent before.
    pub handshake_ended_at: Option<Moment>,
    /// Why there is no connection.
    pub error: Option<Failure>,
    /// What became of data that was sent before the handshake ended (0-RTT).
    #[serde(default)]
    pub early_data: EarlyData,
    /// What the server calls the connection by: the identifier that we chose first.
    pub source_connection_id: String,
    /// What we chose for the server, before it chose itself.
    pub original_destination_connection_id: String,
    /// What the server chose in its first packet.
    pub destination_connection_id: Option<String>,
    /// Whether it was there before the trace began.
    #[serde(default)]
    pub from_earlier_trace: bool,
    /// How many requests it was used for since it was opened.
    #[serde(default)]
    pub requests: u64,
    /// The server's settings of HTTP/3, as identifiers and values of RFC 9114, section 7.2.4.1.
    #[serde(default)]
    pub settings: Vec<(u64, u64)>,
    /// That the server takes no further requests.
    pub go_away: Option<Http3GoAway>,
    /// What was counted, when the trace was taken or the connection ended.
    pub statistics: Option<QuicStatistics>,
    /// How it ended.
    pub close: Option<QuicClose>,
}

/// What became of early data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyData {
    /// None was sent: it was not asked for, or there was no session to take up again.
    #[default]
    NotOffered,
    /// It was sent, and not answered yet.
    Offered,
    /// The server took it.
    Accepted,
    /// The server did not look at it. What was in it was sent again.
    Rejected,
}

/// The end of an HTTP/3 connection that the server announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http3GoAway {
    /// When.
    pub at: Moment,
    /// The first stream that is not looked at any more.
    pub stream: u64,
}

/// What a QUIC connection counted, from its beginning. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuicStatistics {
    /// When it was asked for.
    pub at: Moment,
    /// The smoothed round trip time.
    pub rtt_us: u64,
    /// The least round trip time.
    pub minimum_rtt_us: u64,
    /// The congestion window, in bytes.
    pub congestion_window: u64,
    /// How often the window was reduced.
    pub congestion_events: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// How many of them are thought lost.
    pub lost_packets: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// The largest datagram of the path, in bytes of QUIC.
    pub path_mtu: u16,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// Who ended a QUIC connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuicClosedBy {
    /// We did.
    Client,
    /// The server did.
    Server,
    /// Nobody: nothing came for too long.
    Timeout,
    /// The server, which does not know the connection any more (stateless reset).
    Reset,
}

/// Which part of the protocol the code of an end is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuicCloseLayer {
    /// QUIC: RFC 9000, section 20.1. From 256 to 511 it is 256 and an alert of TLS.
    Transport,
    /// HTTP/3: RFC 9114, section 8.1.
    Application,
}

/// The end of a QUIC connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuicClose {
    /// When we knew of it.
    pub at: Moment,
    /// By whom.
    pub by: QuicClosedBy,
    /// What the code is of; nothing where there is none.
    pub layer: Option<QuicCloseLayer>,
    /// The code.
    pub code: Option<u64>,
    /// The words that came with it.
    pub reason: String,
}
