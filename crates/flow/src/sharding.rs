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
