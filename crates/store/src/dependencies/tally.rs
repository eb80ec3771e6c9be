//! What was counted of connections, told from the client's point of view.

use netglass_model::{Direction, Failures, FlowCounters, RttSamples, Timestamp};

use super::share::shares;

/// What was counted of connections, told from the client's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) connections: u64,
    pub(super) failed: Failures,
    /// From the client to the server.
    pub(super) bytes_sent: u64,
    /// From the server to the client.
    pub(super) bytes_received: u64,
    /// From the client to the server.
    pub(super) segments_sent: u64,
    /// From the server to the client.
    pub(super) segments_received: u64,
    pub(super) retransmits: u64,
    pub(super) rtt: RttSamples,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

impl Tally {
    /// What one end counted: the server's, who sends what the client receives, mirrored.
    pub(super) fn new(
        direction: Direction,
        counters: &FlowCounters,
        first_seen: Timestamp,
        last_seen: Timestamp,
    ) -> Self {
        let from_client = |(sent, received)| match direction {
            Direction::Active => (sent, received),
            Direction::Passive => (received, sent),
        };
        let (bytes_sent, bytes_received) =
            from_client((counters.bytes_sent, counters.bytes_received));
        let (segments_sent, segments_received) =
            from_client((counters.segments_sent, counters.segments_received));
        Self {
            connections: counters.connections,
            failed: counters.failed,
            bytes_sent,
            bytes_received,
            segments_sent,
            segments_received,
            retransmits: counters.retransmits,
            rtt: counters.rtt,
            first_seen,
            last_seen,
        }
    }

    /// Adds what was counted of other connections.
    pub(super) fn add(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.failed.merge(&other.failed);
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(other.bytes_received);
        self.segments_sent = self.segments_sent.saturating_add(other.segments_sent);
        self.segments_received = self.segments_received.saturating_add(other.segments_received);
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
        self.rtt.merge(other.rtt);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    /// Splits everything but the connections and failures in proportion to `weights`; each part
    /// has those of the whole.
    pub(super) fn split(&self, weights: &[u64]) -> Vec<Self> {
        let sent = shares(self.bytes_sent, weights);
        let received = shares(self.bytes_received, weights);
        let segments_sent = shares(self.segments_sent, weights);
        let segments_received = shares(self.segments_received, weights);
        let retransmits = shares(self.retransmits, weights);
        let samples = shares(self.rtt.count, weights);
        let sums = shares(self.rtt.sum_us, &samples);
        (0..weights.len())
            .map(|index| Self {
                bytes_sent: sent[index],
                bytes_received: received[index],
                segments_sent: segments_sent[index],
                segments_received: segments_received[index],
                retransmits: retransmits[index],
                // A sum without samples would be lost to the mean, and change it when merged.
                rtt: RttSamples {
                    sum_us: if samples[index] == 0 { 0 } else { sums[index] },
                    count: samples[index],
                },
                ..*self
            })
            .collect()
    }

    fn has_bytes(&self) -> bool {
        self.bytes_sent > 0 || self.bytes_received > 0
    }

    fn has_segments(&self) -> bool {
        self.segments_sent > 0 || self.segments_received > 0
    }
}

/// Which end's word counts where both have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    Client,
    Server,
}

/// One tally of what both ends counted of the same `connections` and `failed` attempts.
pub(super) fn unite(
    client: &Tally,
    server: &Tally,
    precedence: Precedence,
    connections: u64,
    failed: Failures,
) -> Tally {
    let (first, second) = match precedence {
        Precedence::Client => (client, server),
        Precedence::Server => (server, client),
    };
    let bytes = if first.has_bytes() { first } else { second };
    let segments = if first.has_segments() { first } else { second };
    Tally {
        connections,
        failed,
        bytes_sent: bytes.bytes_sent,
        bytes_received: bytes.bytes_received,
        segments_sent: segments.segments_sent,
        segments_received: segments.segments_received,
        retransmits: client.retransmits.saturating_add(server.retransmits),
        rtt: if first.rtt.count > 0 { first.rtt } else { second.rtt },
        first_seen: client.first_seen.min(server.first_seen),
        last_seen: client.last_seen.max(server.last_seen),
    }
}

/// One tally of what the only process at either end counted.
pub(super) fn unite_whole(client: &Tally, server: &Tally) -> Tally {
    let connections = client.connections.max(server.connections);
    let failed = client.failed.unite(&server.failed);
    unite(client, server, Precedence::Client, connections, failed)
}
