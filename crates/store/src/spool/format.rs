//! The bytes of a spool: headers of segments and records, and the position file.
//!
//! All numbers are little endian, all checksums CRC-32 (ISO-HDLC).
//!
//! ```text
//! segment:  magic[8] layout:u16 content:u16 crc:u32(of these 12)
//!           number:u64 sightings:u64 crc:u32(of these 16), then records
//! record:   number:u64 before:u64 sightings:u64 length:u32 payload_crc:u32 crc:u32(of these 32),
//!           then the payload
//! position: number:u64 sightings:u64 crc:u32(of these 16)
//! ```

/// The version of the layout above. The first 16 bytes of a segment are the same in each.
pub(super) const LAYOUT: u16 = 1;

pub(super) const PREAMBLE_LENGTH: usize = 16;
pub(super) const SEGMENT_HEADER_LENGTH: usize = 36;
pub(super) const RECORD_HEADER_LENGTH: usize = 36;
pub(super) const POSITION_LENGTH: usize = 20;

const MAGIC: [u8; 8] = *b"ng-spool";

/// A place in all that was ever appended to a spool.
///
/// Since each record says how many sightings came before it, what is missing between any two places
/// is known exactly, whatever became of the bytes between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// How many records come before it.
    pub(super) number: u64,
    /// How many sightings are in these.
    pub(super) sightings: u64,
}

impl Position {
    pub(super) fn after(self, sightings: u64) -> Self {
        Self {
            number: self.number.saturating_add(1),
            sightings: self.sightings.saturating_add(sightings),
        }
    }

    /// The later one of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            number: self.number.max(other.number),
            sightings: self.sightings.max(other.sightings),
        }
    }

    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.sightings.to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { number: take_u64(bytes)?, sightings: take_u64(bytes)? })
    }

    /// As it stands in the position file.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(POSITION_LENGTH);
        self.put(&mut bytes);
        seal(&mut bytes, 0);
        bytes
    }

    /// None where it is torn or damaged.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        take_sealed(&mut bytes, POSITION_LENGTH).and_then(|mut fields| Self::take(&mut fields))
    }
}

/// What the payloads of such contents are: the upper byte is their kind, the lower one its version.
/// Kind 0 is a probe's flushes, kind 1 batches of flow records.
pub(super) const fn kind(content: u16) -> u16 {
    content >> 8
}

/// The versions at the start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preamble {
    /// Of the layout above.
    pub(super) layout: u16,
    /// Of what the payloads hold.
    pub(super) content: u16,
}

/// What a segment starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) preamble: Preamble,
    /// The place of its first record.
    pub(super) first: Position,
}

impl Preamble {
    /// None where this is no segment, or a damaged one.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut fields = take_sealed(&mut bytes, PREAMBLE_LENGTH)?.strip_prefix(&MAGIC)?;
        Some(Self { layout: take_u16(&mut fields)?, content: take_u16(&mut fields)? })
    }
}

impl SegmentHeader {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LENGTH);
        bytes.extend(MAGIC);
        bytes.extend(self.preamble.layout.to_le_bytes());
        bytes.extend(self.preamble.content.to_le_bytes());
        seal(&mut bytes, 0);
        self.first.put(&mut bytes);
        seal(&mut bytes, PREAMBLE_LENGTH);
        bytes
    }

    /// None where it is torn or damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let preamble = Preamble::from_bytes(bytes)?;
        let mut rest = bytes.get(PREAMBLE_LENGTH..)?;
        let mut fields = take_sealed(&mut rest, SEGMENT_HEADER_LENGTH - PREAMBLE_LENGTH)?;
        Some(Self { preamble, first: Position::take(&mut fields)? })
    }
}

/// What stands before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Its place.
    pub(super) position: Position,
    /// How many sightings are in it.
    pub(super) sightings: u64,
    /// Bytes of the payload.
    pub(super) length: u32,
    payload_crc: u32,
}

impl RecordHeader {
    /// None where the payload is larger than any may be.
    pub(super) fn new(position: Position, sightings: u64, payload: &[u8]) -> Option<Self> {
        let length = u32::try_from(payload.len()).ok()?;
        Some(Self { position, sightings, length, payload_crc: crc32fast::hash(payload) })
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_LENGTH);
        self.position.put(&mut bytes);
        bytes.extend(self.sightings.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.payload_crc.to_le_bytes());
        seal(&mut bytes, 0);
        bytes
    }

    /// None where it is torn or damaged.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut fields = take_sealed(&mut bytes, RECORD_HEADER_LENGTH)?;
        Some(Self {
            position: Position::take(&mut fields)?,
            sightings: take_u64(&mut fields)?,
            length: take_u32(&mut fields)?,
            payload_crc: take_u32(&mut fields)?,
        })
    }

    /// Whether these are the bytes that were written.
    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.payload_crc
    }

    /// Bytes of the record, header included.
    pub(super) fn size(&self) -> u64 {
        record_size(self.length.into())
    }

    /// The place behind it.
    pub(super) fn end(&self) -> Position {
        self.position.after(self.sightings)
    }
}

/// Bytes of a record with such a payload.
pub(super) fn record_size(payload: u64) -> u64 {
    payload.saturating_add(RECORD_HEADER_LENGTH as u64)
}

/// Appends the checksum of all that was put since `start`.
fn seal(bytes: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(bytes.get(start..).unwrap_or_default());
    bytes.extend(crc.to_le_bytes());
}

/// The fields of the next `length` bytes, of which the last are their checksum.
fn take_sealed<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (sealed, rest) = bytes.split_at_checked(length)?;
    let (fields, crc) = sealed.split_last_chunk()?;
    *bytes = rest;
    (crc32fast::hash(fields) == u32::from_le_bytes(*crc)).then_some(fields)
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take(bytes).map(u16::from_le_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: SegmentHeader = SegmentHeader {
        preamble: Preamble { layout: LAYOUT, content: 3 },
        first: Position { number: 7, sightings: 90 },
    };

    #[test]
    fn headers_have_the_lengths_that_are_read() {
        assert_eq!(SEGMENT.to_bytes().len(), SEGMENT_HEADER_LENGTH);
        assert_eq!(SEGMENT.first.to_bytes().len(), POSITION_LENGTH);
        let record = RecordHeader::new(SEGMENT.first, 5, b"payload").unwrap();
        assert_eq!(record.to_bytes().len(), RECORD_HEADER_LENGTH);
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        assert_eq!(SegmentHeader::from_bytes(&SEGMENT.to_bytes()), Some(SEGMENT));
        assert_eq!(Preamble::from_bytes(&SEGMENT.to_bytes()), Some(SEGMENT.preamble));
        assert_eq!(Position::from_bytes(&SEGMENT.first.to_bytes()), Some(SEGMENT.first));
        let record = RecordHeader::new(SEGMENT.first, 5, b"payload").unwrap();
        assert_eq!(RecordHeader::from_bytes(&record.to_bytes()), Some(record));
        assert!(record.matches(b"payload") && !record.matches(b"paylord"));
    }

    #[test]
    fn zeros_are_nothing() {
        // As a file system leaves them that had not written what it had made room for.
        let zeros = [0; 64];
        assert_eq!(SegmentHeader::from_bytes(&zeros), None);
        assert_eq!(RecordHeader::from_bytes(&zeros), None);
        assert_eq!(Position::from_bytes(&zeros), None);
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_noticed(at in 0..SEGMENT_HEADER_LENGTH, bit in 0..8) {
            let flipped = |mut bytes: Vec<u8>| {
                bytes[at] ^= 1_u8 << bit;
                bytes
            };
            prop_assert_eq!(SegmentHeader::from_bytes(&flipped(SEGMENT.to_bytes())), None);
            let record = RecordHeader::new(SEGMENT.first, 5, b"payload").unwrap();
            prop_assert_eq!(RecordHeader::from_bytes(&flipped(record.to_bytes())), None);
        }
    }
}
