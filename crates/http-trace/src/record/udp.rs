//! UDP sockets: those of the resolver, and of QUIC.

use serde::{Deserialize, Serialize};

use super::{AddressTuple, ConntrackEntry, Failure, Id, Operations, QuicConnection};
use crate::clock::Moment;

/// A connected UDP socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UdpConnection {
    /// Its name.
    pub id: Id,
    /// The dial whose name was looked up, or that it was opened for. Nothing where it is not of this trace.
    pub dial: Option<Id>,
    /// Whether it leads to a name server, as all do but those of HTTP/3.
    pub to_nameserver: bool,
    /// When the socket was made.
    pub began_at: Moment,
    /// When we closed it.
    pub closed_at: Option<Moment>,
    /// Both ends.
    pub addresses: AddressTuple,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Datagrams sent and received, each of them, where they are traced.
    pub operations: Option<Operations>,
    /// What the network said against it.
    pub error: Option<Failure>,
    /// As the kernel tracks it, where that is traced.
    pub conntrack: Option<Box<ConntrackEntry>>,
    /// What is true of it where QUIC is spoken over it.
    pub quic: Option<Box<QuicConnection>>,
}
