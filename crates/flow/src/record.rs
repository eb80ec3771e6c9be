//! What is written of a flow.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use netglass_model::{EndReason, FlowRecord, FlowStatus, IpProtocol, Timestamp};
use uuid::{Builder, Uuid};

use crate::flow::{Details, Flow};

/// A flow that has ended, or that is written for another reason.
#[derive(Debug, Clone, Copy)]
pub struct EndedFlow {
    pub(crate) flow: Flow,
    pub(crate) details: Details,
    pub(crate) reason: EndReason,
}

/// Writes the records of flows. It can be on another thread than their table.
#[derive(Debug)]
pub struct Recorder {
    identifiers: Identifiers,
    interfaces: Vec<Option<Arc<str>>>,
}

impl Recorder {
    /// One that knows no interface's name.
    #[must_use]
    pub fn new() -> Self {
        Self { identifiers: Identifiers::new(), interfaces: Vec::new() }
    }

    /// Has the records of flows that were seen on an interface tell its name.
    pub fn name_interface(&mut self, interface: u16, name: Arc<str>) {
        let interface = usize::from(interface);
        if self.interfaces.len() <= interface {
            self.interfaces.resize(interface + 1, None);
        }
        self.interfaces[interface] = Some(name);
    }

    /// The record of a flow. Who its owners are, packets do not tell.
    pub fn record(&mut self, ended: &EndedFlow) -> FlowRecord {
        let EndedFlow { flow, details, reason } = ended;
        let conversation = details.key.conversation(flow.source);
        let [source_bytes, destination_bytes] = flow.bytes(details);
        let [source_packets, destination_packets] = flow.packets(details);
        let (first_seen, last_seen) = flow.seen(details);
        let answered = flow.is_answered(details);
        let interface = self.interfaces.get(usize::from(details.key.interface()));
        FlowRecord {
            id: self.identifiers.next(first_seen),
            protocol: conversation.protocol,
            source: conversation.source,
            destination: conversation.destination,
            source_port: conversation.source_port,
            destination_port: conversation.destination_port,
            first_seen,
            last_seen,
            source_bytes,
            destination_bytes,
            source_packets,
            destination_packets,
            status: if answered { FlowStatus::Established } else { FlowStatus::Init },
            end_reason: *reason,
            interface: interface.cloned().flatten(),
            tcp: if conversation.protocol == IpProtocol::TCP {
                flow.connection.summary(&flow.sequences, &details.connection)
            } else {
                None
            },
            source_owner: None,
            destination_owner: None,
        }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes identifiers: two sequences of `SplitMix64`, from random seeds.
#[derive(Debug)]
struct Identifiers {
    states: [u64; 2],
}

impl Identifiers {
    fn new() -> Self {
        let random = RandomState::new();
        Self { states: [random.hash_one(0), random.hash_one(1)] }
    }

    /// One that is not given again, of the time `at`.
    fn next(&mut self, at: Timestamp) -> Uuid {
        let [first, second] = self.states.each_mut().map(next);
        let milliseconds = u64::try_from(at.as_nanoseconds() / 1_000_000).unwrap_or(0);
        let random = u128::from(first) << 64 | u128::from(second);
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&random.to_ne_bytes()[..10]);
        Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid()
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The record of a flow whose interface has no name.
#[cfg(test)]
pub(crate) fn recorded(ended: &EndedFlow) -> FlowRecord {
    Recorder::new().record(ended)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_are_of_version_7_of_their_time_and_unique() {
        let at = Timestamp::from_nanoseconds(1_700_000_000_123_456_789);
        let mut one = Identifiers::new();
        let mut other = Identifiers::new();
        let made: HashSet<Uuid> =
            (0..10_000).flat_map(|_| [one.next(at), other.next(at)]).collect();
        assert_eq!(made.len(), 20_000);
        for id in made {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
        }
    }

    #[test]
    fn a_time_before_1970_is_none_that_an_identifier_could_hold() {
        let id = Identifiers::new().next(Timestamp::MIN);
        assert_eq!(id.get_timestamp().unwrap().to_unix(), (0, 0));
    }
}
