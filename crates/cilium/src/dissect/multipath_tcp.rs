//! Multipath options of TCP (RFC 8684), as far as the packet library of Cilium 1.20 looks at them.

use super::Malformed;

/// The subtypes by their numbers.
pub(crate) const SUBTYPES: [&str; 9] = [
    "MP_CAPABLE",
    "MP_JOIN",
    "DSS",
    "ADD_ADDR",
    "REMOVE_ADDR",
    "MP_PRIO",
    "MP_FAIL",
    "MP_FASTCLOSE",
    "MP_TCPRST",
];

/// What is behind a multipath option, if it has a length that its subtype can have.
pub(super) fn check(rest: &[u8]) -> Result<&[u8], Malformed> {
    let [_, length, first, more @ ..] = rest else {
        let text = "panic: runtime error: index out of range [{}] with length {}";
        return Err(Malformed::Two(text, rest.len(), rest.len()));
    };
    let length = usize::from(*length);
    if length == 0 {
        return Err(Malformed::One("MPTCP bad option length {}", length));
    }
    let flags = more.first().copied().unwrap_or_default();
    let wrong = match first >> 4 {
        0 if ![4, 12, 20, 22, 24].contains(&length) => "MP_CAPABLE bad option length {}",
        1 if ![12, 16, 24].contains(&length) => "MP_JOIN bad option length {}",
        2 if !sequence_lengths(flags).contains(&length) => "DSS bad option length {}",
        3 if !is_address_length(length, first & 0x0f) => "ADD_ADDR bad option length {}",
        4 if length < 4 => "Rem_ADDR bad option length {}",
        5 if ![3, 4].contains(&length) => "MP_PRIO bad option length {}",
        6 if length != 12 => "MP_FAIL bad option length {}",
        7 if length != 12 => "MP_FASTCLOSE bad option length {}",
        8 if length != 4 => "MP_TCPRST bad option length {}",
        _ => {
            let text = "panic: runtime error: slice bounds out of range [{}:{}]";
            return rest.get(length..).ok_or(Malformed::Two(text, length, rest.len()));
        }
    };
    Err(Malformed::One(wrong, length))
}

/// The lengths that a data sequence signal can have, without and with checksum.
const fn sequence_lengths(flags: u8) -> [usize; 2] {
    let mut length = 4;
    if flags & 0x01 != 0 {
        length += if flags & 0x02 != 0 { 8 } else { 4 };
    }
    if flags & 0x04 == 0 {
        return [length, length];
    }
    length += if flags & 0x08 != 0 { 14 } else { 10 };
    [length, length + 2]
}

/// Whether an address can be advertised in so many bytes. Above 1 the bits are the IP version, as
/// version 0 of the protocol has it; else they tell whether it is an echo, which has no HMAC.
const fn is_address_length(length: usize, bits: u8) -> bool {
    let hmac = if bits > 1 || bits & 1 != 0 { 0 } else { 8 };
    matches!(length.wrapping_sub(hmac), 8 | 10 | 20 | 22)
}
