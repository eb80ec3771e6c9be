//! VLAN tags (IEEE 802.1Q).

use super::{Library, Malformed, Next, by_ether_type, layer::Shown};

/// A VLAN tag.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vlan {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) priority: u8,
    pub(crate) drop_eligible: bool,
    pub(crate) identifier: u16,
    pub(crate) ether_type: u16,
}

impl Vlan {
    pub(super) fn decode<'a>(&mut self, data: &'a [u8]) -> Result<Next<'a>, Malformed> {
        let Some((header, payload)) = data.split_first_chunk::<4>() else {
            return Err(Malformed::One("Invalid VLAN tag. Length {} less than 4", data.len()));
        };
        let [a, b, c, d] = *header;
        let tag = u16::from_be_bytes([a, b]);
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::new(payload),
            priority: a >> 5,
            drop_eligible: a & 0x10 != 0,
            identifier: tag & 0x0fff,
            ether_type: u16::from_be_bytes([c, d]),
        };
        Ok(Next::new(by_ether_type(self.ether_type, Library::Own), payload))
    }
}
