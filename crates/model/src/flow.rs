//! What a probe sees of connections.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Endpoint, Failures, Host, NamespaceInode, NetworkNamespace, Process, Protocol, Timestamp,
    Translation,
};

/// Which end opened the connection, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// This end connected: it is the client.
    Active,
    /// This end listened: it is the server.
    Passive,
}

/// How well the process of a record is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribution {
    /// The process holds the very socket.
    Socket,
    /// The process holds the listening socket of the endpoint.
    Listener,
    /// Only the network namespace is known.
    Namespace,
}

/// Smoothed round trip times, kept so that samples of any number of sockets and times can be
/// averaged together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RttSamples {
    /// The sum of all samples, in microseconds.
    pub sum_us: u64,
    /// How many samples there are.
    pub count: u64,
}

impl RttSamples {
    /// Adds one sample.
    pub fn add(&mut self, rtt_us: u32) {
        self.sum_us = self.sum_us.saturating_add(u64::from(rtt_us));
        self.count = self.count.saturating_add(1);
    }

    /// Adds the samples of `other`.
    pub fn merge(&mut self, other: Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.count = self.count.saturating_add(other.count);
    }

    /// The mean in microseconds, if there is any sample.
    #[must_use]
    pub fn mean_us(self) -> Option<u64> {
        self.sum_us.checked_div(self.count)
    }
}

/// What was counted of a flow within an interval of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowCounters {
    /// Distinct connections seen in the interval, those older than it included.
    pub connections: u64,
    /// Those of them that began in the interval.
    pub opened: u64,
    /// Attempts that did not become a connection.
    pub failed: Failures,
    /// Payload bytes sent by this end in the interval, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received by this end in the interval.
    pub bytes_received: u64,
    /// Segments sent by this end in the interval, with and without payload, those that were sent
    /// again included (`tcpEStatsPerfSegsOut` of RFC 4898); datagrams of UDP.
    pub segments_sent: u64,
    /// Segments received by this end in the interval, with and without payload
    /// (`tcpEStatsPerfSegsIn` of RFC 4898); datagrams of UDP.
    pub segments_received: u64,
    /// Segments sent again in the interval.
    pub retransmits: u64,
    /// Smoothed round trip times as this end's kernel knows them.
    pub rtt: RttSamples,
}

impl FlowCounters {
    /// Appends the interval that follows this one, so that a connection which lives through both
    /// counts once. Associative: intervals can be appended one by one or in groups.
    ///
    /// Where the intervals do not touch, connections that began in the gap are known only from the
    /// later interval's total, so the count is a lower bound.
    pub fn append(&mut self, later: &Self) {
        self.connections = self.connections.saturating_add(later.opened).max(later.connections);
        self.opened = self.opened.saturating_add(later.opened);
        self.failed.merge(&later.failed);
        self.bytes_sent = self.bytes_sent.saturating_add(later.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(later.bytes_received);
        self.segments_sent = self.segments_sent.saturating_add(later.segments_sent);
        self.segments_received = self.segments_received.saturating_add(later.segments_received);
        self.retransmits = self.retransmits.saturating_add(later.retransmits);
        self.rtt.merge(later.rtt);
    }

    /// Adds what was counted in the same interval of other connections.
    pub fn combine(&mut self, other: &Self) {
        let connections = self.connections.saturating_add(other.connections);
        self.append(other);
        self.connections = connections;
    }
}

/// All connections of one process, in one direction, between one local and one peer address for
/// one service, within an interval of time.
///
/// An active flow has many local ports and one peer port; a passive flow one local port and many
/// peer ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFlow {
    /// The network namespace of the sockets.
    pub namespace: NamespaceInode,
    /// Their protocol.
    pub protocol: Protocol,
    /// Which end opened them.
    pub direction: Direction,
    /// The end on this host.
    pub local: Endpoint,
    /// The other end.
    pub peer: Endpoint,
    /// Whose sockets they are, if that is known.
    pub process: Option<Arc<Process>>,
    /// How well the process is known.
    pub attribution: Attribution,
    /// What was counted.
    pub counters: FlowCounters,
    /// When the flow was first seen in the interval.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
}

/// A socket that waits for peers: a listening TCP socket, or an unconnected UDP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The network namespace of the socket.
    pub namespace: NamespaceInode,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it listens; the address may be the wildcard, the port is many where a program uses
    /// ephemeral ports that the kernel chose.
    pub local: Endpoint,
    /// Whose socket it is, if that is known.
    pub process: Option<Arc<Process>>,
    /// When it was first seen in the interval.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
}

/// What a probe saw on one host between two flushes: the unit in which a database takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observations {
    /// Where it was seen.
    pub host: Host,
    /// The namespaces that flows, listeners and addresses name.
    pub namespaces: Vec<NetworkNamespace>,
    /// The flows.
    pub flows: Vec<HostFlow>,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// The translations.
    pub translations: Vec<Translation>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counters() -> impl Strategy<Value = FlowCounters> {
        (0_u64..1000, 0_u64..1000, prop::array::uniform6(0_u64..9), 0_u64..1 << 40).prop_map(
            |(carried, opened, failed, bytes)| FlowCounters {
                connections: carried + opened,
                opened,
                failed: Failures::from_counts(failed),
                bytes_sent: bytes,
                segments_sent: bytes / 1000,
                segments_received: bytes / 2000,
                ..FlowCounters::default()
            },
        )
    }

    #[test]
    fn a_connection_that_lives_through_two_intervals_counts_once() {
        let mut first = FlowCounters { connections: 3, opened: 3, ..FlowCounters::default() };
        let second = FlowCounters { connections: 5, opened: 2, ..FlowCounters::default() };
        first.append(&second);
        assert_eq!((first.connections, first.opened), (5, 5));
    }

    #[test]
    fn connections_of_the_same_interval_add_up() {
        let mut first = FlowCounters { connections: 3, opened: 0, ..FlowCounters::default() };
        let second = FlowCounters { connections: 5, opened: 2, ..FlowCounters::default() };
        first.combine(&second);
        assert_eq!((first.connections, first.opened), (8, 2));
    }

    proptest! {
        #[test]
        fn appending_is_associative(a in counters(), b in counters(), c in counters()) {
            let (mut one_by_one, mut bc, mut grouped) = (a, b, a);
            one_by_one.append(&b);
            one_by_one.append(&c);
            bc.append(&c);
            grouped.append(&bc);
            prop_assert_eq!(one_by_one, grouped);
        }
    }
}
