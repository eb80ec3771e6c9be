//! The pcap format: a header, and packets.

use netglass_model::Timestamp;

use super::{Damage, MAX_RECORD, Record, Step, byte_order::ByteOrder, interface::Interface};
use crate::LinkType;

/// How long the header of a file is.
pub(super) const HEADER: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Written by a libpcap with patches by Alexey Kuznetsov; each packet's header has 8 bytes more.
const MODIFIED: u32 = 0xa1b2_cd34;

const VERSION: u16 = 2;
/// Of DG/UX.
const VERSION_WITH_LENGTHS_SWAPPED: u16 = 543;

/// How many seconds there are at most between packets that are thought to be of one capture.
const NEAR: u32 = 7 * 24 * 60 * 60;
/// What tcpdump captures of a packet at most if it is asked for no other length.
const LONGEST_USUAL: u32 = 262_144;

/// How packets stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pcap {
    order: ByteOrder,
    link_type: LinkType,
    /// How many nanoseconds the smaller part of a time counts in.
    unit: i64,
    /// How long the header of a packet is.
    header: usize,
    lengths: Lengths,
}

/// Which of the two lengths of a packet comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    WireFirst,
    /// Either one: the version is one of which there are both.
    SmallerIsCaptured,
}

impl Pcap {
    /// Whether a file that begins so is in this format, and how its numbers stand in it.
    pub(super) fn detect(beginning: [u8; 4]) -> Option<ByteOrder> {
        [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .find(|order| matches!(order.u32(beginning), MICROSECONDS | NANOSECONDS | MODIFIED))
    }

    /// How packets stand in the file that has this header, and the interface that they are of.
    pub(super) fn new(
        order: ByteOrder,
        header: &[u8; HEADER],
    ) -> Result<(Self, Interface), Damage> {
        let (words, _) = header.as_chunks::<4>();
        let word = |index: usize| words.get(index).map_or(0, |word| order.u32(*word));
        let (major, minor) = order.halves(word(1));
        let lengths = match (major, minor) {
            (VERSION, 0..=2) | (VERSION_WITH_LENGTHS_SWAPPED, _) => Lengths::WireFirst,
            (VERSION, 3) => Lengths::SmallerIsCaptured,
            (VERSION, _) => Lengths::CapturedFirst,
            _ => return Err(Damage::Version { major, minor }),
        };
        let magic = word(0);
        // The upper half says how long the frame check sequence is.
        let link_type = LinkType((word(5) & 0xffff) as u16);
        let interface = Interface {
            name: String::new(),
            link_type,
            snapshot_length: word(4),
            filter: String::new(),
            statistics: super::InterfaceStatistics::default(),
        };
        let unit = if magic == NANOSECONDS { 1 } else { 1_000 };
        let header = if magic == MODIFIED { 24 } else { 16 };
        Ok((Self { order, link_type, unit, header, lengths }, interface))
    }

    /// The same if packets stand in it as in nearly all files. Whoever is compiled with what it returns need
    /// not ask how they do.
    #[expect(clippy::inline_always, reason = "so that the caller knows all but the unit")]
    #[inline(always)]
    pub(super) fn if_usual(&self) -> Option<Self> {
        let usual = Self {
            order: ByteOrder::Little,
            link_type: LinkType::ETHERNET,
            unit: self.unit,
            header: 16,
            lengths: Lengths::CapturedFirst,
        };
        (*self == usual).then_some(usual)
    }

    /// How long the header of a packet is.
    pub(super) fn header_length(&self) -> usize {
        self.header
    }

    /// What `bytes` begin with.
    #[inline]
    pub(super) fn step(&self, bytes: &[u8]) -> Result<Step, Damage> {
        let Some(words) = self.order.words(bytes) else {
            return Ok(Step::Short);
        };
        let record = self.record(words);
        let length = self.header + record.captured as usize;
        if length > MAX_RECORD {
            return Err(Damage::PacketTooLong(record.captured));
        }
        if bytes.len() < length {
            return Ok(Step::Short);
        }
        Ok(Step::Packet(record, length))
    }

    /// The packet whose header has these halves, whatever is behind that.
    #[inline]
    pub(super) fn packet(&self, first: [u8; 8], second: [u8; 8]) -> Record {
        let [seconds, fraction] = self.order.words(&first).unwrap_or_default();
        let [first, second] = self.order.words(&second).unwrap_or_default();
        self.record([seconds, fraction, first, second])
    }

    /// How much of a packet was captured, and how much there was on the wire, by the second half of its
    /// header.
    #[inline]
    pub(super) fn lengths(&self, half: [u8; 8]) -> (u32, u32) {
        let [first, second] = self.order.words(&half).unwrap_or_default();
        self.told_apart(first, second)
    }

    /// Whether this may be the second half of a packet's header. Of a packet like most others it may.
    #[inline]
    pub(super) fn has_usual_lengths(&self, half: [u8; 8]) -> bool {
        let (captured, wire) = self.lengths(half);
        captured <= wire && wire <= LONGEST_USUAL
    }

    /// Which byte of each length is zero, of the four that it has, where both are usual by
    /// [`Self::has_usual_lengths`].
    pub(super) fn zero_byte_of_usual_lengths(&self) -> u64 {
        match self.order {
            ByteOrder::Little => 3,
            ByteOrder::Big => 0,
        }
    }

    /// Whether this may be the first half of a packet's header, `near` being the seconds of another
    /// packet's time. Of a packet like most others it may.
    pub(super) fn has_usual_time(&self, half: [u8; 8], near: u32) -> bool {
        let [seconds, fraction] = self.order.words(&half).unwrap_or_default();
        seconds.abs_diff(near) < NEAR && i64::from(fraction) * self.unit < 1_000_000_000
    }

    /// The seconds of a packet's time, by the first half of its header.
    pub(super) fn seconds(&self, half: [u8; 8]) -> u32 {
        let [seconds, _] = self.order.words(&half).unwrap_or_default();
        seconds
    }

    #[inline]
    fn record(&self, [seconds, fraction, first, second]: [u32; 4]) -> Record {
        let (captured, wire_length) = self.told_apart(first, second);
        let at = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * self.unit;
        Record {
            at: Timestamp::from_nanoseconds(at),
            start: self.header,
            captured,
            wire_length,
            interface: 0,
            link_type: self.link_type,
        }
    }

    #[inline]
    fn told_apart(&self, first: u32, second: u32) -> (u32, u32) {
        match self.lengths {
            Lengths::WireFirst => (second, first),
            Lengths::SmallerIsCaptured if first > second => (second, first),
            _ => (first, second),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn usual_lengths_have_a_byte_that_is_zero(
            is_big in any::<bool>(),
            captured in 0..=LONGEST_USUAL,
            more in 0..=LONGEST_USUAL,
        ) {
            let wire = (captured + more).min(LONGEST_USUAL);
            let order = if is_big { ByteOrder::Big } else { ByteOrder::Little };
            let bytes = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
            let header = [MICROSECONDS, 0, 0, 0, 0, 1].map(bytes);
            let mut header: [u8; HEADER] = header.as_flattened().try_into().unwrap();
            header[4..8].copy_from_slice(if is_big { &[0, 2, 0, 4] } else { &[2, 0, 4, 0] });
            let (pcap, _) = Pcap::new(order, &header).unwrap();
            let half: [u8; 8] = [captured, wire].map(bytes).as_flattened().try_into().unwrap();
            prop_assert!(pcap.has_usual_lengths(half));
            let zero = usize::try_from(pcap.zero_byte_of_usual_lengths()).unwrap();
            prop_assert_eq!((half[zero], half[4 + zero]), (0, 0));
        }
    }
}
