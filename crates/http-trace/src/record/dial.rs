//! Dials: from the wish for a connection to its establishment or failure.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Failure, Id};
use crate::clock::Moment;

/// One wish for a connection: the name is looked up, its addresses are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dial {
    /// Its name.
    pub id: Id,
    /// The request that it was begun for. Another may have used the connection.
    pub request: Option<Id>,
    /// Host and port, as they were asked for: those of the proxy where there is one.
    pub destination: String,
    /// Where connections are bound to.
    pub source_ip: Option<IpAddr>,
    /// When it began.
    pub began_at: Moment,
    /// When it ended, by success, failure, or because nobody wanted it any more.
    pub ended_at: Option<Moment>,
    /// How it ended.
    pub outcome: DialOutcome,
    /// How the name became addresses.
    pub lookup: Option<Lookup>,
    /// Connections to name servers, in the order in which they were opened.
    pub resolver_dials: Vec<ResolverDial>,
    /// Name servers that were left out, each once.
    pub skipped_nameservers: Vec<SkippedNameserver>,
    /// Attempts to connect, in the order in which they began (RFC 8305).
    pub attempts: Vec<Attempt>,
    /// How long after the first attempt the one that won began, in nanoseconds: what the
    /// addresses before it cost.
    pub fallback_cost: Option<u64>,
}

/// How a dial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DialOutcome {
    /// It has not.
    Running,
    /// There is a connection.
    Connected {
        /// Which. Nothing where it is not of this trace.
        connection: Option<Id>,
    },
    /// There is none.
    Failed {
        /// Why.
        error: Failure,
    },
    /// Nobody wanted it any more.
    Abandoned {
        /// Why.
        reason: String,
    },
}

impl Dial {
    /// When attempts over a transport began, and when the last of them ended, or all of the dial.
    pub(crate) fn times_of(&self, transport: AttemptTransport) -> (Option<Moment>, Option<Moment>) {
        let attempts = || self.attempts.iter().filter(|attempt| attempt.transport == transport);
        let began_at = attempts().next().map(|first| first.began_at);
        let is_over = attempts().all(|attempt| attempt.ended_at.is_some());
        let last = attempts().filter_map(|attempt| attempt.ended_at).max().filter(|_| is_over);
        (began_at, began_at.and(last.or(self.ended_at)))
    }
}

impl DialOutcome {
    /// The connection that was established.
    #[must_use]
    pub fn connection(&self) -> Option<Id> {
        match self {
            Self::Connected { connection } => *connection,
            _ => None,
        }
    }

    /// Why there is none.
    #[must_use]
    pub fn error(&self) -> Option<&Failure> {
        match self {
            Self::Failed { error } => Some(error),
            _ => None,
        }
    }
}

/// Where the addresses of a name came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LookupSource {
    /// The caller said (`--resolve`).
    Override,
    /// `/etc/hosts`.
    Hosts,
    /// An earlier answer that still holds.
    Cache,
    /// Name servers.
    Dns,
}

/// How a name became addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name, as it was given.
    pub name: String,
    /// When it began.
    pub began_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// Where the addresses came from.
    pub source: LookupSource,
    /// The names that were asked for, in order: those of the search list, and the name itself.
    pub steps: Vec<SearchStep>,
    /// The last name of a chain of `CNAME`s.
    pub canonical_name: Option<String>,
    /// The addresses, in the order in which they are tried (RFC 6724).
    pub addresses: Vec<IpAddr>,
    /// Why there are none.
    pub error: Option<Failure>,
}

/// One name that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchStep {
    /// The whole name, with its final dot.
    pub name: String,
    /// When it was begun with.
    pub began_at: Moment,
    /// When the last answer was there.
    pub ended_at: Moment,
    /// How many addresses it has.
    pub addresses: u32,
    /// Why it has none.
    pub error: Option<Failure>,
}

/// A connection to a name server, or the attempt at one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolverDial {
    /// When it began.
    pub began_at: Moment,
    /// When it was established or failed; over UDP, nothing is sent.
    pub ended_at: Option<Moment>,
    /// The server.
    pub nameserver: SocketAddr,
    /// Over what.
    pub transport: super::DnsTransport,
    /// The UDP or TCP connection.
    pub connection: Option<Id>,
    /// Why there is none.
    pub error: Option<Failure>,
}

/// A name server that the caller did not want to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedNameserver {
    /// Which.
    pub nameserver: SocketAddr,
    /// The caller's reason.
    pub reason: String,
}

/// One attempt to connect to one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The connection, established or not.
    pub connection: Option<Id>,
    /// How it is made.
    #[serde(default)]
    pub transport: AttemptTransport,
    /// Where to.
    pub address: SocketAddr,
    /// Whether it is of the family that came second.
    pub fallback: bool,
    /// When it began.
    pub began_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

/// How a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptTransport {
    /// A TCP connection.
    #[default]
    Tcp,
    /// A QUIC connection, with its handshake of TLS.
    Quic,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// It has not.
    Running,
    /// It is the dial's connection.
    Won,
    /// Another was faster, or nobody wanted it any more.
    Abandoned {
        /// Which of them.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Why.
        error: Failure,
    },
}
