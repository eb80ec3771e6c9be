//! TCP connections.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{ConntrackEntry, Failure, Id, TcpInformation};
use crate::clock::Moment;

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressTuple {
    /// Ours; nothing where the kernel never bound the socket.
    pub source: Option<SocketAddr>,
    /// Theirs.
    pub destination: SocketAddr,
}

/// A TCP connection, or the attempt at one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TcpConnection {
    /// Its name.
    pub id: Id,
    /// The dial that it was opened for; of a connection to a name server, the one whose name was
    /// looked up. Nothing where that dial is not of this trace.
    pub dial: Option<Id>,
    /// Whether it leads to a name server.
    pub to_nameserver: bool,
    /// When the socket was there, before it was bound and connected.
    pub began_at: Moment,
    /// When it was established or failed.
    pub ended_at: Option<Moment>,
    /// Whether it was established.
    pub connected: bool,
    /// Why it was not.
    pub error: Option<Failure>,
    /// When we closed it.
    pub closed_at: Option<Moment>,
    /// Both ends.
    pub addresses: AddressTuple,
    /// Whether it was there before the trace began.
    pub from_earlier_trace: bool,
    /// How many requests it was used for since it was opened.
    pub requests: u64,
    /// Bytes written since it was opened.
    pub sent_bytes: u64,
    /// Bytes read since it was opened.
    pub received_bytes: u64,
    /// Reads and writes, where they are traced.
    pub operations: Option<Operations>,
    /// What the kernel knew when it was established.
    pub information_at_connect: Option<Box<TcpInformation>>,
    /// What the kernel knew before it was closed; of an open one, nothing.
    pub information_at_close: Option<Box<TcpInformation>>,
    /// As the kernel tracks it, where that is traced.
    pub conntrack: Option<Box<ConntrackEntry>>,
    /// What is true of it as a whole when it speaks HTTP/2.
    pub http2: Option<Box<Http2Connection>>,
}

/// Reads and writes of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operations {
    /// In the order in which they returned.
    pub list: Vec<Operation>,
    /// How many more there were than are kept.
    pub dropped: u64,
    /// The bytes that those moved.
    pub dropped_bytes: u64,
}

/// A read or a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which of them.
    pub kind: OperationKind,
    /// When it was first tried.
    pub called_at: Moment,
    /// When it returned.
    pub returned_at: Moment,
    /// How many bytes it moved.
    pub bytes: u64,
    /// Why it failed. The end of the stream is `EOF`, as a read of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Takes from the socket.
    Read,
    /// Gives to the socket.
    Write,
}

/// What a connection of HTTP/2 said that is of no single stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Http2Connection {
    /// The other end's settings, as identifiers and values of RFC 9113, section 6.5.2; the last
    /// of each.
    pub settings: Vec<(u16, u32)>,
    /// That the other end, or we, end the connection.
    pub go_away: Option<GoAway>,
    /// Pings received.
    pub pings: u64,
    /// The most streams that were open at once.
    pub streams_at_once: u32,
}

/// The end of an HTTP/2 connection that was announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoAway {
    /// When.
    pub at: Moment,
    /// Whether the other end did.
    pub by_peer: bool,
    /// The last stream that was or will be looked at.
    pub last_stream: u32,
    /// The error code of RFC 9113, section 7.
    pub code: u32,
}
