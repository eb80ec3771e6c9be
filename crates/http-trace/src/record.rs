//! What a trace consists of. Each kind of record is a file; they refer to one another by [`Id`].
//! Serialised, they are the JSON that docs/trace-schema.md describes. All times are [`Moment`]s.

mod alternatives;
mod capture;
mod conntrack;
mod dial;
mod dns;
mod failure;
mod headers;
mod http;
mod quic;
mod tcp;
mod tcp_information;
mod tls;
mod udp;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    alternatives::{AlternativeService, AlternativeServices},
    capture::{CaptureSummary, Packet, PacketDirection},
    conntrack::{ConntrackEntry, ConntrackEvent, ConntrackEventKind},
    dial::{
        Attempt, AttemptOutcome, AttemptTransport, Dial, DialOutcome, Lookup, LookupSource,
        ResolverDial, SearchStep, SkippedNameserver,
    },
    dns::{
        DnsAnswer, DnsExchange, DnsExtendedError, DnsQuery, DnsQuestion, DnsReply, DnsSection,
        DnsTransport, Edns, EdnsOption,
    },
    failure::{Failure, FailureKind, IcmpCause, Layer},
    headers::{Header, Headers, HeadersIter},
    http::{
        ConnectionUse, HttpRequest, Informational, Message, Phases, ProxyConnect, Reset, ResetBy,
        Via,
    },
    quic::{
        EarlyData, Http3GoAway, QuicClose, QuicCloseLayer, QuicClosedBy, QuicConnection,
        QuicStatistics,
    },
    tcp::{
        AddressTuple, GoAway, Http2Connection, Operation, OperationKind, Operations, TcpConnection,
    },
    tcp_information::{TcpAccurateEcn, TcpInformation, TcpReceiveWindow, TcpTimeouts, TcpTransfer},
    tls::{Certificate, TlsRole, TlsTunnel},
    udp::UdpConnection,
};

pub(crate) use self::headers::{HeadersWriter, conventional};
use crate::clock::Moment;

/// The version of the JSON that [`HttpTrace`] is. It grows when a reader of an older one would
/// misunderstand; fields may be added without.
pub const SCHEMA_VERSION: u32 = 1;

/// Names a record; unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub u64);

/// All that a client's requests did, from the beginning of the trace until it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpTrace {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// What the caller says of it.
    pub description: String,
    /// The session that the client was made for.
    pub session: String,
    /// When the trace began: when the client was made, or its trace last cleared.
    pub began_at: Moment,
    /// The same on the wall's clock, in Coordinated Universal Time.
    pub began_at_wall: Timestamp,
    /// When the trace was taken.
    pub ended_at: Moment,
    /// Each time that the client wanted a connection, in the order in which they began.
    pub dials: Vec<Arc<Dial>>,
    /// TCP connections, established or not, in the order in which they began.
    pub tcp: Vec<Arc<TcpConnection>>,
    /// UDP sockets, in the order in which they began.
    pub udp: Vec<Arc<UdpConnection>>,
    /// What name servers were asked and answered, one record for each connection to one.
    pub dns: Vec<Arc<DnsExchange>>,
    /// TLS handshakes, in the order in which they began.
    pub tls: Vec<Arc<TlsTunnel>>,
    /// What proxies were asked to connect to.
    pub connects: Vec<Arc<ProxyConnect>>,
    /// Requests, one for each message: each redirect is one of its own.
    pub requests: Vec<Arc<HttpRequest>>,
    /// What was captured on each interface; the packets themselves are not part of the trace.
    pub captures: Vec<CaptureSummary>,
    /// How many records had to make way for newer ones.
    pub dropped: Dropped,
    /// What was asked for and could not be recorded.
    pub missing: Vec<Missing>,
}

/// Counts of what limits kept out of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Records of dials.
    pub dials: u64,
    /// Records of TCP connections.
    pub tcp: u64,
    /// Records of UDP sockets.
    pub udp: u64,
    /// Records of DNS exchanges.
    pub dns: u64,
    /// Records of TLS tunnels.
    pub tls: u64,
    /// Records of `CONNECT` requests.
    pub connects: u64,
    /// Records of requests.
    pub requests: u64,
    /// Batches that nobody fetched in time.
    pub batches: u64,
    /// How often events of connection tracking were lost, each time one or many. Connections were
    /// asked for instead.
    pub conntrack_events: u64,
}

/// Something that was asked for and is not in the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is not there.
    pub what: String,
    /// Why it could not be had, and what to try.
    pub why: String,
}

impl HttpTrace {
    /// The dial of this id.
    #[must_use]
    pub fn dial(&self, id: Id) -> Option<&Dial> {
        self.dials.iter().map(|dial| &**dial).find(|dial| dial.id == id)
    }

    /// The TCP connection of this id.
    #[must_use]
    pub fn tcp_connection(&self, id: Id) -> Option<&TcpConnection> {
        self.tcp.iter().map(|connection| &**connection).find(|connection| connection.id == id)
    }

    /// The UDP socket of this id.
    #[must_use]
    pub fn udp_connection(&self, id: Id) -> Option<&UdpConnection> {
        self.udp.iter().map(|connection| &**connection).find(|connection| connection.id == id)
    }

    /// Both ends of the connection of this id, of whichever kind.
    #[must_use]
    pub fn addresses(&self, id: Id) -> Option<&AddressTuple> {
        let tcp = self.tcp_connection(id).map(|connection| &connection.addresses);
        tcp.or_else(|| self.udp_connection(id).map(|connection| &connection.addresses))
    }

    /// The TLS tunnel of this id.
    #[must_use]
    pub fn tls_tunnel(&self, id: Id) -> Option<&TlsTunnel> {
        self.tls.iter().map(|tunnel| &**tunnel).find(|tunnel| tunnel.id == id)
    }

    /// The request of this id.
    #[must_use]
    pub fn request(&self, id: Id) -> Option<&HttpRequest> {
        self.requests.iter().map(|request| &**request).find(|request| request.id == id)
    }

    /// How long after the beginning of the trace a moment is, in nanoseconds; negative for what
    /// was before, as the beginning of a connection that outlived a clearing.
    #[must_use]
    pub fn relative(&self, moment: Moment) -> i64 {
        let difference = i128::from(moment.0) - i128::from(self.began_at.0);
        i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
    }
}
