//! Which of several tables a packet belongs to.

use std::num::NonZero;

use foldhash::fast::RandomState;

use crate::{
    Sighting,
    fragments::Fragments,
    key::{Key, hash},
};

/// Divides packets among tables, one for each thread: all packets of a flow, of both directions, go to
/// the same one.
///
/// The hash has another seed than those within the tables, so that what one table gets is spread over
/// all of its index.
#[derive(Debug)]
pub struct Sharding {
    random: RandomState,
    fragments: Fragments,
}

impl Sharding {
    /// One with a random seed.
    #[must_use]
    pub fn new() -> Self {
        Self { random: RandomState::default(), fragments: Fragments::new() }
    }

    /// Which of `tables` tables a packet belongs to. Packets have to come in the order in which they
    /// were seen.
    ///
    /// A later fragment is given the ports of its datagram, as it says nothing of them itself and the
    /// table may not be given what does: it is no fragment any more then.
    pub fn shard(&mut self, sighting: &mut Sighting, tables: NonZero<usize>) -> usize {
        let ports = self.fragments.ports(sighting);
        let (key, _) = Key::of(sighting.interface, &sighting.headers, ports);
        if let Some((source, destination)) = ports {
            sighting.headers.source_port = source;
            sighting.headers.destination_port = destination;
            sighting.headers.fragment = None;
        }
        let scaled = u128::from(hash(&self.random, &key)) * tables.get() as u128;
        usize::try_from(scaled >> u64::BITS).unwrap_or(0)
    }
}

impl Default for Sharding {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use netglass_model::{IpProtocol, Timestamp};
    use netglass_packet::{Fragment, Headers};

    use super::*;

    const TABLES: NonZero<usize> = NonZero::new(7).unwrap();

    fn fragment(flow: u16, offset: u16) -> Sighting {
        Sighting {
            at: Timestamp::from_nanoseconds(0),
            interface: 0,
            wire_length: 100,
            headers: Headers {
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
                protocol: IpProtocol::UDP,
                source_port: if offset == 0 { flow } else { 0 },
                destination_port: if offset == 0 { 53 } else { 0 },
                fragment: Some(Fragment { identification: flow.into(), offset, more: offset == 0 }),
                tcp: None,
            },
        }
    }

    #[test]
    fn a_later_fragment_goes_where_the_first_one_and_the_answer_go() {
        let mut sharding = Sharding::new();
        let mut seen = [0; 7];
        for flow in 1000..1100 {
            let mut first = fragment(flow, 0);
            let mut later = fragment(flow, 1480);
            let mut answer = fragment(flow, 0);
            answer.headers.fragment = None;
            answer.headers.source = first.headers.destination;
            answer.headers.destination = first.headers.source;
            (answer.headers.source_port, answer.headers.destination_port) = (53, flow);
            let table = sharding.shard(&mut first, TABLES);
            assert_eq!(sharding.shard(&mut later, TABLES), table);
            assert_eq!(sharding.shard(&mut answer, TABLES), table);
            // The table needs to know no more.
            assert_eq!(later.headers, first.headers);
            assert_eq!(first.headers.fragment, None);
            seen[table] += 1;
        }
        assert!(seen.iter().all(|&flows| flows > 0), "{seen:?}");
    }

    #[test]
    fn a_fragment_of_an_unknown_datagram_stays_one() {
        let mut later = fragment(1, 1480);
        Sharding::new().shard(&mut later, TABLES);
        assert_eq!(later, fragment(1, 1480));
    }
}
