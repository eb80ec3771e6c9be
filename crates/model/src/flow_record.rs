//! Conversations: what was exchanged between two addresses, in both directions.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Attribution, Process, Timestamp};

/// The protocol that an IP header names (IANA "Assigned Internet Protocol Numbers").
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// RFC 792.
    pub const ICMPV4: Self = Self(1);
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);
    /// RFC 4443.
    pub const ICMPV6: Self = Self(58);
    /// RFC 9260.
    pub const SCTP: Self = Self(132);

    /// The name in flow logs, of those that have one there.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::ICMPV4 => Some("icmp4"),
            Self::TCP => Some("tcp"),
            Self::UDP => Some("udp"),
            Self::ICMPV6 => Some("icmp6"),
            Self::SCTP => Some("sctp"),
            _ => None,
        }
    }
}

/// The name, or else the number.
impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// Whether a flow was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowStatus {
    /// Packets went in one direction only.
    Init,
    /// There was an answer.
    Established,
}

impl FlowStatus {
    /// The name in flow logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Established => "established",
        }
    }
}

/// Why a flow's record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Nothing came for the idle timeout.
    Idle,
    /// It lasted for the active timeout; what follows is another record.
    Active,
    /// Its TCP connection was closed or reset.
    Closed,
    /// It made way: the table was full, and nothing had been idle for longer.
    Evicted,
    /// The capture ended.
    CaptureEnd,
}

impl EndReason {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Idle, Self::Active, Self::Closed, Self::Evicted, Self::CaptureEnd];

    /// The name in flow logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Closed => "closed",
            Self::Evicted => "evicted",
            Self::CaptureEnd => "capture_end",
        }
    }
}

/// How a TCP connection went, in the terms of Zeek's `conn.log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConnectionState {
    /// Attempted, no reply.
    S0,
    /// Established, not closed.
    S1,
    /// Established, and closed by the source only.
    S2,
    /// Established, and closed by the destination only.
    S3,
    /// Established, and closed by both.
    Sf,
    /// Attempted, and rejected.
    Rej,
    /// Established, and reset by the source.
    Rsto,
    /// Reset by the destination.
    Rstr,
    /// Attempted, and reset by the source, without a reply.
    Rstos0,
    /// The destination answered with SYN and reset; no SYN of the source was seen.
    Rstrh,
    /// The source sent SYN and FIN; no answer was seen.
    Sh,
    /// The destination sent SYN and FIN; no SYN of the source was seen.
    Shr,
    /// No SYN was seen: the middle of a connection.
    Oth,
}

impl ConnectionState {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::S0,
        Self::S1,
        Self::S2,
        Self::S3,
        Self::Sf,
        Self::Rej,
        Self::Rsto,
        Self::Rstr,
        Self::Rstos0,
        Self::Rstrh,
        Self::Sh,
        Self::Shr,
        Self::Oth,
    ];

    /// The name that Zeek gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }
}

/// What is known of a flow of TCP beyond its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TcpConnection {
    /// How it went.
    pub state: ConnectionState,
    /// All flags that the source sent, as in the header (RFC 9293, 3.1): `FIN` is 1, `CWR` 128.
    pub source_flags: u8,
    /// All flags that the destination sent.
    pub destination_flags: u8,
    /// From the source's last SYN to its acknowledgment of the destination's SYN, where all three
    /// were seen.
    pub handshake_rtt: Option<Duration>,
    /// Segments of the source that began with bytes which it had sent before, where each segment was
    /// looked at.
    #[serde(with = "largest_for_unknown")]
    pub source_retransmissions: Option<u64>,
    /// The same of the destination.
    #[serde(with = "largest_for_unknown")]
    pub destination_retransmissions: Option<u64>,
}

/// A count that may not be known, as a number: what was written when each was known is read on.
mod largest_for_unknown {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "as serde wants it")]
    pub(super) fn serialize<S: Serializer>(
        count: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        count.unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let count = u64::deserialize(deserializer)?;
        Ok((count < u64::MAX).then_some(count))
    }
}

/// A process at the end of a flow, and how well it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The process.
    pub process: Arc<Process>,
    /// How well it is known.
    pub attribution: Attribution,
}

/// One conversation, or the part of it between two timeouts.
///
/// The source is who sent the first packet, or for TCP the first SYN, where one was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Unique (UUID version 7, of the time at which the flow began).
    pub id: Uuid,
    /// The protocol above IP.
    pub protocol: IpProtocol,
    /// The source's address.
    pub source: IpAddr,
    /// The destination's address.
    pub destination: IpAddr,
    /// The source's port; zero where there are none.
    pub source_port: u16,
    /// The destination's port; of ICMP the first packet's type times 256 and its code, as in `NetFlow`;
    /// zero where there are none.
    pub destination_port: u16,
    /// When the first packet was seen.
    pub first_seen: Timestamp,
    /// When the last one was.
    pub last_seen: Timestamp,
    /// Bytes on the wire that the source sent, link headers included.
    pub source_bytes: u64,
    /// Those that the destination sent.
    pub destination_bytes: u64,
    /// Packets that the source sent.
    pub source_packets: u64,
    /// Those that the destination sent.
    pub destination_packets: u64,
    /// Whether it was answered.
    pub status: FlowStatus,
    /// Why the record was written.
    pub end_reason: EndReason,
    /// The interface on which it was seen, by name; none for files.
    pub interface: Option<Arc<str>>,
    /// For TCP, the connection.
    pub tcp: Option<TcpConnection>,
    /// The process at the source, where that is on this host and known.
    pub source_owner: Option<Owner>,
    /// The process at the destination, where that is on this host and known.
    pub destination_owner: Option<Owner>,
}
