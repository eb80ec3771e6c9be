//! One flow that goes on.

use netglass_model::Timestamp;

use crate::{
    key::{Key, Sender},
    settings::Limits,
    tcp::Connection,
};

/// An end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Who sent the first packet, or for TCP the first SYN, where one was seen.
    Source,
    /// The other one.
    Destination,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// One flow that goes on.
///
/// A packet changes the first two lines of the processor's cache, and the third one only when it says
/// something new of its connection or comes late. Moments are those of the table's clock, which never
/// goes back; `first_seen` and `last_seen` are what the packets say.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Flow {
    pub(crate) key: Key,
    /// When a packet came last.
    pub(crate) touched: u64,
    pub(crate) last_seen: Timestamp,
    /// Which endpoint of the key is the source.
    pub(crate) source: Sender,
    /// Whether both sides have sent something.
    pub(crate) answered: bool,
    /// Its place in the wheel.
    pub(crate) slot: u16,
    /// How many flows had this place before, so that who asks for one of them is not given this one.
    pub(crate) generation: u32,

    /// By side, on the wire.
    pub(crate) bytes: [u64; 2],
    /// By side.
    pub(crate) packets: [u64; 2],
    pub(crate) connection: Connection,

    pub(crate) first_seen: Timestamp,
    /// When the first packet of the record to come came.
    pub(crate) began: u64,
    pub(crate) links: Links,
}

/// The neighbours in a slot of the wheel, or the next one among the free places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// Stands for no flow in links.
pub(crate) const NONE: u32 = u32::MAX;

impl Flow {
    /// One of which the first packet comes at `now`, says `at`, and is not counted yet.
    pub(crate) fn new(key: Key, source: Sender, at: Timestamp, now: u64) -> Self {
        Self {
            key,
            touched: now,
            last_seen: at,
            source,
            answered: false,
            slot: 0,
            generation: 0,
            bytes: [0; 2],
            packets: [0; 2],
            connection: Connection::default(),
            first_seen: at,
            began: now,
            links: Links { previous: NONE, next: NONE },
        }
    }

    /// Which side `sender` is.
    #[inline]
    pub(crate) fn side(&self, sender: Sender) -> Side {
        if sender == self.source { Side::Source } else { Side::Destination }
    }

    /// Counts a packet of `side` that came at `now`.
    #[inline]
    pub(crate) fn count(&mut self, side: Side, at: Timestamp, now: u64, wire_length: u32) {
        let side = side as usize;
        self.touched = now;
        if at < self.last_seen {
            self.first_seen = self.first_seen.min(at);
        } else {
            self.last_seen = at;
        }
        self.packets[side] += 1;
        self.bytes[side] += u64::from(wire_length);
        self.answered |= self.packets[1 - side] > 0;
    }

    /// What comes from `now` on is for another record. The first packet of it says `at`.
    pub(crate) fn begin_anew(&mut self, at: Timestamp, now: u64) {
        self.began = now;
        self.bytes = [0; 2];
        self.packets = [0; 2];
        self.first_seen = at;
        self.last_seen = at;
        self.connection.begin_anew();
    }

    /// When it ends if nothing comes.
    #[inline]
    pub(crate) fn ends_at(&self, limits: &Limits) -> u64 {
        let timeout = if self.connection.is_over() { limits.linger } else { limits.idle };
        self.touched.saturating_add(timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn what_each_packet_changes_is_in_two_lines() {
        assert_eq!(size_of::<Flow>(), 192);
        assert_eq!(offset_of!(Flow, bytes), 64);
        assert_eq!(offset_of!(Flow, connection) + Connection::CHANGED_BY_EACH_SEGMENT, 128);
    }
}
