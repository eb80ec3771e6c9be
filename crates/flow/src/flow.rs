//! One flow that goes on.

use netglass_model::Timestamp;

use crate::{
    key::{Key, NarrowKey, Sender},
    settings::Limits,
    table::{moment, said},
    tcp::{Connection, ConnectionDetails, Sequences},
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

/// One flow that goes on, as far as each packet asks for it or changes it: one line of the processor's
/// cache. The rest is in its [`Details`]. Arrays are by [`Side`].
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Flow {
    pub(crate) key: NarrowKey,
    /// When a packet came last, by the table's clock, which never goes back.
    pub(crate) touched: u64,
    /// On the wire; what is more is in [`Details::byte_wraps`].
    bytes: [u32; 2],
    packets: [u32; 2],
    pub(crate) sequences: Sequences,
    /// How many flows had this place before, so that who asks for one of them is not given this one.
    pub(crate) generation: u32,
    pub(crate) connection: Connection,
    /// Which endpoint of the key is the source.
    pub(crate) source: Sender,
}

/// What most packets of a flow neither ask for nor change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Details {
    pub(crate) key: Key,
    /// What the index knows the key by; of a free place the next free one.
    pub(crate) tag: u32,
    /// What the packets say, as are all of these moments but those of the clock.
    first_seen: Timestamp,
    /// The latest moment that a packet said, where [`Self::told_at`] is when one came last; otherwise
    /// that packet said when it came.
    last_seen: Timestamp,
    told_at: u64,
    /// When the first packet of the record to come came, by the table's clock.
    pub(crate) began: u64,
    pub(crate) connection: ConnectionDetails,
    /// How many times 2 to the power of 32 bytes and packets there were, by [`Side`].
    byte_wraps: [u16; 2],
    packet_wraps: [u16; 2],
    /// Whether both sides had sent something before the record to come.
    was_answered: bool,
}

/// Stands for no flow.
pub(crate) const NONE: u32 = u32::MAX;

impl Flow {
    /// No flow, as long as its place is free.
    pub(crate) const FREE: Self = Self {
        key: NarrowKey::NONE,
        touched: 0,
        bytes: [0; 2],
        packets: [0; 2],
        sequences: Sequences::NONE,
        generation: 0,
        connection: Connection::NONE,
        source: Sender::Lower,
    };

    /// One of which the first packet comes at `now`, and is not counted yet.
    pub(crate) const fn new(key: NarrowKey, source: Sender, now: u64) -> Self {
        Self { key, touched: now, source, ..Self::FREE }
    }

    /// Which side `sender` is.
    #[inline]
    pub(crate) fn side(&self, sender: Sender) -> Side {
        if sender == self.source { Side::Source } else { Side::Destination }
    }

    /// Counts a packet of `side` that came at `now`.
    #[inline]
    pub(crate) fn count(
        &mut self,
        details: &mut Details,
        side: Side,
        at: Timestamp,
        now: u64,
        wire_length: u32,
    ) {
        // What came in order says when it came.
        if moment(at) != now || self.touched >= now {
            details.see(self.touched, at, at, now);
        }
        self.touched = now;
        let side = side as usize;
        let (bytes, more_bytes) = self.bytes[side].overflowing_add(wire_length);
        let (packets, more_packets) = self.packets[side].overflowing_add(1);
        self.bytes[side] = bytes;
        self.packets[side] = packets;
        if more_bytes | more_packets {
            details.wrap(side, more_bytes, more_packets);
        }
    }

    /// Counts packets of `side`, of which [`Self::see`] is told apart.
    pub(crate) fn count_sums(
        &mut self,
        details: &mut Details,
        side: Side,
        packets: u64,
        bytes: u64,
    ) {
        let side = side as usize;
        let bytes = self.bytes(details)[side].saturating_add(bytes);
        let packets = self.packets(details)[side].saturating_add(packets);
        self.bytes[side] = lower_half(bytes);
        self.packets[side] = lower_half(packets);
        details.byte_wraps[side] = u16::try_from(bytes >> u32::BITS).unwrap_or(u16::MAX);
        details.packet_wraps[side] = u16::try_from(packets >> u32::BITS).unwrap_or(u16::MAX);
    }

    /// That packets came until `now`, which say that they did so from `first` to `last`.
    pub(crate) fn see(
        &mut self,
        details: &mut Details,
        first: Timestamp,
        last: Timestamp,
        now: u64,
    ) {
        details.see(self.touched, first, last, now);
        self.touched = now;
    }

    /// What comes from `now` on is for another record. The first packet of it says `at`.
    pub(crate) fn begin_anew(&mut self, details: &mut Details, at: Timestamp, now: u64) {
        details.was_answered = self.is_answered(details);
        details.began = now;
        details.first_seen = at;
        details.last_seen = at;
        details.told_at = self.touched;
        details.byte_wraps = [0; 2];
        details.packet_wraps = [0; 2];
        self.bytes = [0; 2];
        self.packets = [0; 2];
        self.connection.begin_anew();
        self.sequences.begin_anew(&mut details.connection);
    }

    /// How many bytes each side has sent.
    pub(crate) fn bytes(&self, details: &Details) -> [u64; 2] {
        [0, 1].map(|side| whole(details.byte_wraps[side].into(), self.bytes[side]))
    }

    /// How many packets each side has sent.
    pub(crate) fn packets(&self, details: &Details) -> [u64; 2] {
        [0, 1].map(|side| whole(details.packet_wraps[side].into(), self.packets[side]))
    }

    /// Whether both sides have sent something.
    pub(crate) fn is_answered(&self, details: &Details) -> bool {
        details.was_answered || self.packets(details).iter().all(|&packets| packets > 0)
    }

    /// The earliest and the latest moment that its packets say.
    pub(crate) fn seen(&self, details: &Details) -> (Timestamp, Timestamp) {
        (details.first_seen, details.last_seen(self.touched))
    }

    /// Whether it has not ended by then if nothing came.
    #[inline]
    pub(crate) fn goes_on(&self, limits: &Limits, now: u64) -> bool {
        // No flow ends sooner than what is over.
        self.touched.saturating_add(limits.linger) > now || self.ends_at(limits) > now
    }

    /// When it ends if nothing comes.
    #[inline]
    pub(crate) fn ends_at(&self, limits: &Limits) -> u64 {
        let timeout = if self.connection.is_over() { limits.linger } else { limits.idle };
        self.touched.saturating_add(timeout)
    }
}

impl Details {
    /// Those of a place that no flow has had, and of which the next free one is not known.
    pub(crate) const FREE: Self = Self {
        key: Key::NONE,
        tag: NONE,
        first_seen: Timestamp::MIN,
        last_seen: Timestamp::MIN,
        told_at: 0,
        began: 0,
        connection: ConnectionDetails::NONE,
        byte_wraps: [0; 2],
        packet_wraps: [0; 2],
        was_answered: false,
    };

    /// Those of a flow of which the first packet comes at `now`, says `at`, and is not counted yet.
    pub(crate) const fn new(key: Key, tag: u32, at: Timestamp, now: u64) -> Self {
        Self { key, tag, first_seen: at, last_seen: at, told_at: now, began: now, ..Self::FREE }
    }

    #[inline(never)]
    fn see(&mut self, touched: u64, first: Timestamp, last: Timestamp, now: u64) {
        let latest = self.last_seen(touched);
        self.first_seen = self.first_seen.min(first);
        self.last_seen = latest.max(last);
        self.told_at = now;
    }

    #[cold]
    fn wrap(&mut self, side: usize, bytes: bool, packets: bool) {
        let (byte_wraps, packet_wraps) = (&mut self.byte_wraps[side], &mut self.packet_wraps[side]);
        *byte_wraps = byte_wraps.saturating_add(bytes.into());
        *packet_wraps = packet_wraps.saturating_add(packets.into());
    }

    fn last_seen(&self, touched: u64) -> Timestamp {
        if self.told_at == touched { self.last_seen } else { said(touched) }
    }
}

fn whole(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << u32::BITS | u64::from(lower)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
const fn lower_half(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn more_than_a_line_has_room_for_is_counted() {
        let (mut flow, mut details) = (Flow::FREE, Details::FREE);
        let (packets, length) = (3_u64 << 32, 0xffff_ff00);
        flow.count_sums(&mut details, Side::Destination, packets - 1, u64::from(u32::MAX) << 10);
        for now in 1..=9 {
            flow.count(&mut details, Side::Destination, said(now), now, length);
            flow.count(&mut details, Side::Source, said(now), now, length);
        }
        assert_eq!(flow.packets(&details), [9, packets + 8]);
        let bytes = 9 * u64::from(length);
        assert_eq!(flow.bytes(&details), [bytes, bytes + (u64::from(u32::MAX) << 10)]);
        flow.begin_anew(&mut details, said(9), 9);
        assert_eq!((flow.packets(&details), flow.bytes(&details)), ([0; 2], [0; 2]));
        assert!(flow.is_answered(&details));
    }

    #[test]
    fn what_each_packet_changes_is_in_one_line() {
        assert_eq!(size_of::<Flow>(), 64);
        assert_eq!(size_of::<Details>(), 112);
    }
}
