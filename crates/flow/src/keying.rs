//! What is known of a packet before its flow is looked at.

use foldhash::fast::RandomState;
use netglass_model::Timestamp;
use netglass_packet::{Headers, TcpSegment};

use crate::{
    fragments::Fragments,
    index,
    key::{Key, Sender, hash},
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

/// A packet with the key of its flow, and the hash of that: what a table needs of it, in fewer bytes
/// than its headers.
#[derive(Debug, Clone, Copy)]
pub struct KeyedPacket {
    pub(crate) key: Key,
    pub(crate) at: Timestamp,
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

    /// Adds a packet.
    #[inline]
    pub fn push(&mut self, packet: KeyedPacket) {
        match self.room.get_mut(self.count) {
            Some(place) => *place = packet,
            None => self.room.push(packet),
        }
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
        wire_length: 0,
        tag: 0,
        tcp: None,
        sender: Sender::Lower,
    };
}

/// Makes the keys of packets for a table. It can be on another thread than that.
#[derive(Debug)]
pub struct Keying {
    random: RandomState,
    fragments: Fragments,
    unmatched_fragments: u64,
}

impl Keying {
    pub(crate) fn new(random: RandomState) -> Self {
        Self { random, fragments: Fragments::new(), unmatched_fragments: 0 }
    }

    /// Makes the key of a packet. Packets have to come in the order in which they were seen.
    #[expect(clippy::inline_always, reason = "what is known of a packet needs not be asked then")]
    #[inline(always)]
    pub fn key(&mut self, sighting: &Sighting) -> KeyedPacket {
        let Sighting { at, interface, wire_length, headers } = sighting;
        let ports = self.fragments.ports(sighting);
        self.unmatched_fragments += u64::from(ports.is_none());
        let (key, sender) = Key::of(*interface, headers, ports);
        KeyedPacket {
            key,
            at: *at,
            wire_length: *wire_length,
            tag: tag(&self.random, &key),
            tcp: headers.tcp,
            sender,
        }
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
    use super::*;

    #[test]
    fn a_keyed_packet_is_smaller_than_its_sighting() {
        assert_eq!(size_of::<KeyedPacket>(), 80);
        assert!(size_of::<KeyedPacket>() < size_of::<Sighting>());
    }
}
