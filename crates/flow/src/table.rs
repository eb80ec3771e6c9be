//! The flows that go on.

use netglass_model::{FlowRecord, Timestamp};
use netglass_packet::Headers;

use crate::Settings;

/// One packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When it was seen.
    pub at: Timestamp,
    /// The interface on which it was seen; what was seen on two of them is two flows.
    pub interface: u16,
    /// How many bytes it had on the wire.
    pub wire_length: u32,
    /// Whose it is.
    pub headers: Headers,
}

/// What a table has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many flows there are.
    pub flows: usize,
    /// How many had to make way.
    pub evicted: u64,
}

/// The flows that go on.
#[derive(Debug)]
pub struct FlowTable {
    settings: Settings,
}

impl FlowTable {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Counts packets, in the order in which they were seen. Flows that have ended by then are added
    /// to `ended`.
    pub fn add(&mut self, sightings: &[Sighting], ended: &mut Vec<FlowRecord>) {
        let _ = (sightings, ended, self.settings);
    }

    /// Has time go on to `now` without a packet.
    pub fn advance(&mut self, now: Timestamp, ended: &mut Vec<FlowRecord>) {
        let _ = (now, ended);
    }

    /// Ends all flows that are left.
    pub fn finish(&mut self, ended: &mut Vec<FlowRecord>) {
        let _ = ended;
    }

    /// What it has done so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::default()
    }
}
