//! What name servers were asked, and answered.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Failure, Id};
use crate::clock::Moment;

/// How a message reaches a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsTransport {
    /// Datagrams.
    Udp,
    /// A stream, each message with its length before it.
    Tcp,
}

/// All messages of one connection to a name server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DnsExchange {
    /// Its name.
    pub id: Id,
    /// The dial whose name was looked up. Nothing where it is not of this trace.
    pub dial: Option<Id>,
    /// The UDP or TCP connection.
    pub connection: Option<Id>,
    /// Over what.
    pub transport: DnsTransport,
    /// The server.
    pub nameserver: SocketAddr,
    /// When it began.
    pub began_at: Moment,
    /// When it was over.
    pub ended_at: Option<Moment>,
    /// What was asked.
    pub queries: Vec<DnsQuery>,
    /// What was answered, whether or not it was believed.
    pub replies: Vec<DnsReply>,
    /// Replies after the most that are kept.
    pub dropped_replies: u64,
    /// Why no answer was accepted.
    pub error: Option<Failure>,
}

/// A question that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuery {
    /// When it was written.
    pub sent_at: Moment,
    /// What tells its answer from others.
    pub id: u16,
    /// Whether the server is to ask others.
    pub recursion_desired: bool,
    /// Whether it was too long.
    pub truncated: bool,
    /// Its length in bytes, without the length that goes before it over TCP.
    pub size: u32,
    /// What is asked.
    pub questions: Vec<DnsQuestion>,
    /// How long an answer over UDP may be (EDNS).
    pub udp_payload_size: Option<u16>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuestion {
    /// The name, with its final dot.
    pub name: String,
    /// The type of record, by its number.
    pub record_type: u16,
    /// The same by its name.
    pub record_type_name: String,
    /// The class, by its number.
    pub class: u16,
}

/// A message that came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)]
pub struct DnsReply {
    /// When it was read.
    pub received_at: Moment,
    /// Its length in bytes, without the length that goes before it over TCP.
    pub size: u32,
    /// The query that it answers, or says to.
    pub id: Option<u16>,
    /// Whether it is the answer to the query.
    pub accepted: bool,
    /// What is wrong with it.
    pub malformed: Option<String>,
    /// Whether the server speaks for the zone.
    pub authoritative: bool,
    /// Whether the server asks others.
    pub recursion_available: bool,
    /// Whether there was more than fitted.
    pub truncated: bool,
    /// Whether the server says that it checked the signatures.
    pub authentic_data: bool,
    /// The code with its extension of EDNS; nothing where not even the header was whole.
    pub response_code: Option<u16>,
    /// The records of all sections, in their order; what could be read of them.
    pub answers: Vec<DnsAnswer>,
    /// The extension, where there is one.
    pub edns: Option<Edns>,
}

/// Which part of a reply a record is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsSection {
    /// What was asked for.
    Answer,
    /// Who knows.
    Authority,
    /// What may help.
    Additional,
}

/// A record of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// Where it is.
    pub section: DnsSection,
    /// Whose it is, with the final dot.
    pub name: String,
    /// The type of record, by its number.
    pub record_type: u16,
    /// The same by its name.
    pub record_type_name: String,
    /// The class, by its number.
    pub class: u16,
    /// How many seconds it holds.
    pub ttl: u32,
    /// What it says, as zone files write it.
    pub value: String,
}

/// The extension of DNS in a message (RFC 6891).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edns {
    /// How long a datagram may be.
    pub udp_payload_size: u16,
    /// Its version.
    pub version: u8,
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
    /// What else it says.
    pub options: Vec<EdnsOption>,
    /// What the server says of a failure (RFC 8914).
    pub extended_errors: Vec<DnsExtendedError>,
}

/// An option of the extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdnsOption {
    /// Its number.
    pub code: u16,
    /// Its length in bytes.
    pub length: u32,
}

/// Why a server could not answer (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsExtendedError {
    /// The number.
    pub code: u16,
    /// The server's words.
    pub text: String,
}
