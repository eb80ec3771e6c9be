//! What is known of a packet before its flow is looked at.

use foldhash::fast::RandomState;
use netglass_model::Timestamp;
use netglass_packet::{Headers, TcpSegment};

use crate::{
    fragments::Fragments,
    index,
    key::{Key, Sender, hash},
    table::{moment, said},
};

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

/// A packet with the key of its flow, the hash of that, and the time at which it is counted: what a table
/// needs of it, in no more bytes than its headers.
#[derive(Debug, Clone, Copy)]
pub struct KeyedPacket {
    pub(crate) key: Key,
    pub(crate) at: Timestamp,
    /// The latest time of any packet by then, see [`moment`].
    pub(crate) clock: u64,
    pub(crate) wire_length: u32,
    /// By which the index knows the key.
    pub(crate) tag: u32,
    pub(crate) tcp: Option<TcpSegment>,
    pub(crate) sender: Sender,
}

/// Packets that are put into a table together, in the order in which they were seen.
///
/// There is room for them beforehand: to write a packet where it belongs takes less than to make it
/// and append it then.
#[derive(Debug)]
pub struct KeyedPackets {
    room: Vec<KeyedPacket>,
    count: usize,
}

impl KeyedPackets {
    /// None yet, and room for so many.
    #[must_use]
    pub fn with_room_for(count: usize) -> Self {
        Self { room: vec![KeyedPacket::NONE; count], count: 0 }
    }

    /// Adds a packet. There must be room for it.
    #[inline]
    pub fn push(&mut self, packet: KeyedPacket) {
        self.room[self.count] = packet;
        self.count += 1;
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[KeyedPacket] {
        self.room.get(..self.count).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

impl KeyedPacket {
    const NONE: Self = Self {
        key: Key::NONE,
        at: Timestamp::MIN,
        clock: 0,
        wire_length: 0,
        tag: 0,
        tcp: None,
        sender: Sender::Lower,
    };

    /// In which of 256 parts of all flows its flow is: so tables can share packets.
    #[inline]
    #[must_use]
    pub fn part(&self) -> u8 {
        // Where a flow is in an index, other bits say.
        let [part, ..] = self.tag.to_le_bytes();
        part
    }
}

/// Makes the keys of packets for a table. It can be on another thread than that.
#[derive(Debug)]
pub struct Keying {
    random: RandomState,
    fragments: Fragments,
    /// The latest time of any packet, see [`moment`].
    clock: u64,
    unmatched_fragments: u64,
}

impl Keying {
    pub(crate) fn new(random: RandomState) -> Self {
        Self { random, fragments: Fragments::new(), clock: 0, unmatched_fragments: 0 }
    }

    /// Makes the key of a packet. Packets have to come in the order in which they were seen.
    #[expect(clippy::inline_always, reason = "what is known of a packet needs not be asked then")]
    #[inline(always)]
    pub fn key(&mut self, sighting: &Sighting) -> KeyedPacket {
        let Sighting { at, interface, wire_length, headers } = sighting;
        let ports = self.fragments.ports(sighting);
        self.unmatched_fragments += u64::from(ports.is_none());
        let (key, sender) = Key::of(*interface, headers, ports);
        self.clock = self.clock.max(moment(*at));
        KeyedPacket {
            key,
            at: *at,
            clock: self.clock,
            wire_length: *wire_length,
            tag: tag(&self.random, &key),
            tcp: headers.tcp,
            sender,
        }
    }

    /// The latest time of any packet; the earliest that there is before the first one.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        said(self.clock)
    }

    /// Adds what another one counted.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.unmatched_fragments += other.unmatched_fragments;
    }

    /// How many later fragments came without the first one of their datagram: they are counted in flows
    /// without ports.
    #[must_use]
    pub fn unmatched_fragments(&self) -> u64 {
        self.unmatched_fragments
    }
}

/// What the index knows a key by.
#[inline]
pub(crate) fn tag(random: &RandomState, key: &Key) -> u32 {
    index::tag(hash(random, key))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::fragments;

    #[test]
    fn a_keyed_packet_is_no_larger_than_its_sighting() {
        assert_eq!((size_of::<KeyedPacket>(), size_of::<Sighting>()), (88, 88));
    }

    /// A fragment of a flow's only datagram.
    fn fragment(flow: u16, offset: u16) -> Sighting {
        let mut fragment = fragments::tests::fragment(0, flow.into(), offset, offset == 0);
        if offset == 0 {
            fragment.headers.source_port = flow;
        }
        fragment
    }

    #[test]
    fn a_later_fragment_is_in_the_part_in_which_the_first_one_and_the_answer_are() {
        let mut keying = Keying::new(RandomState::default());
        let mut seen = HashSet::new();
        for flow in 1000..1100 {
            let mut answer = fragment(flow, 0);
            answer.headers.fragment = None;
            let headers = &mut answer.headers;
            std::mem::swap(&mut headers.source, &mut headers.destination);
            std::mem::swap(&mut headers.source_port, &mut headers.destination_port);
            let part = keying.key(&fragment(flow, 0)).part();
            assert_eq!(keying.key(&fragment(flow, 1480)).part(), part);
            assert_eq!(keying.key(&answer).part(), part);
            seen.insert(part);
        }
        assert!(seen.len() > 50, "{seen:?}");
    }

    #[test]
    fn all_parts_have_about_as_many_flows() {
        let mut keying = Keying::new(RandomState::default());
        let mut seen = [0_u32; 16];
        for flow in 0..16_000 {
            seen[usize::from(keying.key(&fragment(flow, 0)).part() / 16)] += 1;
        }
        assert!(seen.iter().all(|flows| (800..1200).contains(flows)), "{seen:?}");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let mut keying = Keying::new(RandomState::default());
        let clocks = [5, 3, 9].map(|at| {
            let at = Timestamp::from_nanoseconds(at);
            keying.key(&Sighting { at, ..fragment(1, 0) }).clock
        });
        assert_eq!(clocks.map(said), [5, 5, 9].map(Timestamp::from_nanoseconds));
        assert_eq!(keying.latest(), Timestamp::from_nanoseconds(9));
    }
}
