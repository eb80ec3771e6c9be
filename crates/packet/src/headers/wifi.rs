//! IEEE 802.11, and the radiotap header before it (<https://www.radiotap.org>).

use super::{Decoded, Malformed, Undecodable, ethernet, rest::Rest};

/// In the frame control's first byte: the type, of which this is that of data.
const TYPE: u8 = 0b1100;
const DATA: u8 = 0b1000;
/// The bits of a data frame's subtype.
const QUALITY_OF_SERVICE: u8 = 0x80;
const WITHOUT_DATA: u8 = 0x40;

/// In the frame control's second byte.
const BETWEEN_ACCESS_POINTS: u8 = 0x03;
const MORE_FRAGMENTS: u8 = 0x04;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;

/// In the first byte of the quality of service: several frames in one, each with lengths.
const AGGREGATE: u8 = 0x80;

/// In radiotap's first word: which fields there are.
const TIME: u32 = 1;
const FLAGS: u32 = 1 << 1;
const ANOTHER_WORD: u32 = 1 << 31;
/// In radiotap's flags: what follows the frame's header begins at a multiple of four.
const PADDED: u8 = 0x20;

/// A frame as it went through the air.
pub(super) fn frame(rest: Rest<'_>) -> Decoded {
    data(rest, false)
}

/// A frame behind what the receiver says of it.
pub(super) fn radiotap(rest: Rest<'_>) -> Decoded {
    let &[_, _, length_0, length_1, ..] = rest.peek::<8>()?;
    let length = usize::from(u16::from_le_bytes([length_0, length_1]));
    if length < 8 {
        return Err(Malformed::Length.into());
    }
    let flags = radiotap_flags(rest.limit(length).captured).unwrap_or(0);
    data(rest.skip(length), flags & PADDED != 0)
}

fn radiotap_flags(header: &[u8]) -> Option<u8> {
    let (words, _) = header.get(4..)?.as_chunks::<4>();
    let present = u32::from_le_bytes(*words.first()?);
    if present & FLAGS == 0 {
        return None;
    }
    let last = words.iter().position(|word| u32::from_le_bytes(*word) & ANOTHER_WORD == 0)?;
    let fields = 4 + 4 * (last + 1);
    let flags = if present & TIME == 0 { fields } else { fields.next_multiple_of(8) + 8 };
    header.get(flags).copied()
}

fn data(rest: Rest<'_>, is_padded: bool) -> Decoded {
    let &[control, flags] = rest.peek::<2>()?;
    if control & TYPE != DATA || control & WITHOUT_DATA != 0 || flags & PROTECTED != 0 {
        return Err(Undecodable::NotIp);
    }
    let (&[.., sequence_0, _], mut rest) = rest.split::<24>()?;
    // The first of a frame's fragments has its headers.
    if sequence_0 & 0x0f != 0 {
        return Err(Undecodable::NotIp);
    }
    let mut length = 24;
    if flags & BETWEEN_ACCESS_POINTS == BETWEEN_ACCESS_POINTS {
        rest = rest.skip(6);
        length += 6;
    }
    let mut is_aggregate = false;
    if control & QUALITY_OF_SERVICE != 0 {
        let (&[quality, _], behind) = rest.split::<2>()?;
        is_aggregate = quality & AGGREGATE != 0 && flags & MORE_FRAGMENTS == 0;
        rest = behind;
        length += 2;
        if flags & ORDER != 0 {
            rest = rest.skip(4);
            length += 4;
        }
    }
    if is_padded {
        rest = rest.skip(usize::next_multiple_of(length, 4) - length);
    }
    if is_aggregate {
        // The frames in it are of one sender to one receiver: the first one stands for all.
        let (&[.., length_0, length_1], behind) = rest.split::<14>()?;
        rest = behind.limit(usize::from(u16::from_be_bytes([length_0, length_1])));
    }
    ethernet::llc(rest)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ipv4, outer, udp_headers};
    use super::*;
    use crate::LinkType;

    const SNAP: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0];

    /// A frame with a header of 24 bytes, and more of it.
    fn of(control: u8, flags: u8, more: &[u8]) -> Vec<u8> {
        [&[control, flags][..], &[0; 22], more, &SNAP, &ipv4(17, &UDP)].concat()
    }

    #[test]
    fn data_frames_are_read_with_whatever_their_header_has() {
        for bytes in [
            of(0x08, 0x01, &[]),
            of(0x08, 0x03, &[0; 6]),
            of(0x88, 0x02, &[0; 2]),
            of(0x88, 0x03, &[0; 8]),
            of(0x88, 0x81, &[0; 6]),
        ] {
            assert_eq!(outer(LinkType::IEEE802_11, &bytes), Ok(udp_headers()));
        }
    }

    #[test]
    fn the_first_frame_of_an_aggregate_stands_for_all() {
        let first = [&[0x80, 0][..], &[0; 12], &[0, 40]].concat();
        assert_eq!(outer(LinkType::IEEE802_11, &of(0x88, 0x01, &first)), Ok(udp_headers()));
    }

    #[test]
    fn other_frames_are_not_of_ip() {
        // A beacon, an acknowledgment, data without data, encrypted.
        for bytes in [of(0x80, 0, &[]), of(0xd4, 0, &[]), of(0x48, 0x01, &[]), of(0x08, 0x41, &[])]
        {
            assert_eq!(outer(LinkType::IEEE802_11, &bytes), Err(Undecodable::NotIp));
        }
        let mut fragment = of(0x08, 0x01, &[]);
        fragment[22] = 1;
        assert_eq!(outer(LinkType::IEEE802_11, &fragment), Err(Undecodable::NotIp));
    }

    #[test]
    fn radiotap_says_whether_there_is_padding() {
        let frame = of(0x88, 0x01, &[0, 0]);
        let padded = of(0x88, 0x01, &[0, 0, 0, 0]);
        for (header, frame) in [
            (&[0, 0, 8, 0, 0, 0, 0, 0][..], &frame),
            (&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &padded),
            // The time, and a second word of what there is.
            (
                &[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20],
                &padded,
            ),
        ] {
            let bytes = [header, frame].concat();
            assert_eq!(outer(LinkType::IEEE802_11_RADIOTAP, &bytes), Ok(udp_headers()));
        }
        let short = [0, 0, 7, 0, 0, 0, 0, 0];
        let refused = outer(LinkType::IEEE802_11_RADIOTAP, &short);
        assert_eq!(refused, Err(Malformed::Length.into()));
    }
}
