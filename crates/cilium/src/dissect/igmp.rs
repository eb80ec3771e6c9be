//! IGMP, as if it were always version 1 or 2.

use super::{Malformed, Next};

/// An IGMP message (RFC 2236).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Igmp {
    pub(crate) kind: u8,
    /// In tenths of a second.
    pub(crate) most_response_time: u8,
    pub(crate) checksum: u16,
    pub(crate) group: [u8; 4],
}

impl Igmp {
    pub(super) fn decode<'a>(&mut self, data: &'a [u8]) -> Result<Next<'a>, Malformed> {
        let Some(&[kind, time, c0, c1, g0, g1, g2, g3]) = data.first_chunk::<8>() else {
            return Err(Malformed::Text("IGMP Packet too small"));
        };
        *self = Self {
            kind,
            most_response_time: tenths(time),
            checksum: u16::from_be_bytes([c0, c1]),
            group: [g0, g1, g2, g3],
        };
        Ok(Next::NOTHING)
    }
}

/// The library takes exponent and mantissa for each other, and has eight bits for the result.
const fn tenths(code: u8) -> u8 {
    if code & 0x80 == 0 {
        return code;
    }
    let mantissa = code >> 4 & 0x07;
    let exponent = code & 0x0f;
    match (mantissa | 0x10).checked_shl((exponent + 3) as u32) {
        Some(tenths) => tenths,
        None => 0,
    }
}
