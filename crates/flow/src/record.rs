//! What is written of a flow.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use netglass_model::{EndReason, FlowRecord, FlowStatus, IpProtocol, Timestamp};
use uuid::{Builder, Uuid};

use crate::flow::{Details, Flow};

/// What is written of a flow that ends, or is written for another reason. Who its owners are, packets
/// do not tell.
pub(crate) fn record(
    flow: &Flow,
    details: &Details,
    id: Uuid,
    interface: Option<Arc<str>>,
    end_reason: EndReason,
) -> FlowRecord {
    let conversation = details.key.conversation(flow.source);
    let [source_bytes, destination_bytes] = flow.bytes(details);
    let [source_packets, destination_packets] = flow.packets(details);
    let (first_seen, last_seen) = flow.seen(details);
    FlowRecord {
        id,
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
        status: if flow.is_answered(details) { FlowStatus::Established } else { FlowStatus::Init },
        end_reason,
        interface,
        tcp: if conversation.protocol == IpProtocol::TCP {
            flow.connection.summary(&flow.sequences, &details.connection)
        } else {
            None
        },
        source_owner: None,
        destination_owner: None,
    }
}

/// Makes identifiers: two sequences of `SplitMix64`, from random seeds.
#[derive(Debug)]
pub(crate) struct Identifiers {
    states: [u64; 2],
}

impl Identifiers {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self { states: [random.hash_one(0), random.hash_one(1)] }
    }

    /// One that is not given again, of the time `at`.
    pub(crate) fn next(&mut self, at: Timestamp) -> Uuid {
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
