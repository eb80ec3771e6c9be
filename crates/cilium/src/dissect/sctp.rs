//! SCTP: the common header alone.

use super::{Malformed, Next, layer::Shown};

/// The common header of SCTP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sctp {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) verification_tag: u32,
    pub(crate) checksum: u32,
}

impl Sctp {
    pub(super) fn decode<'a>(&mut self, data: &'a [u8]) -> Result<Next<'a>, Malformed> {
        let Some((header, payload)) = data.split_first_chunk::<12>() else {
            return Err(Malformed::Text("Invalid SCTP common header length"));
        };
        let [s0, s1, d0, d1, v0, v1, v2, v3, c0, c1, c2, c3] = *header;
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::new(payload),
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            verification_tag: u32::from_be_bytes([v0, v1, v2, v3]),
            checksum: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Ok(Next::NOTHING)
    }
}
