//! VXLAN.

use super::{Kind, Malformed, Next, layer::Shown};

/// A VXLAN header (RFC 7348) with the group policy extension.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the header")]
pub(crate) struct Vxlan {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) has_network: bool,
    pub(crate) network: u32,
    pub(crate) has_group_policy: bool,
    pub(crate) dont_learn: bool,
    pub(crate) is_applied: bool,
    pub(crate) group_policy: u16,
}

impl Vxlan {
    pub(super) fn decode<'a>(&mut self, data: &'a [u8]) -> Result<Next<'a>, Malformed> {
        let Some((header, payload)) = data.split_first_chunk::<8>() else {
            return Err(Malformed::Text("vxlan packet too small"));
        };
        let [flags, more_flags, p0, p1, n0, n1, n2, _] = *header;
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::new(payload),
            has_network: flags & 0x08 != 0,
            network: u32::from_be_bytes([0, n0, n1, n2]),
            has_group_policy: flags & 0x80 != 0,
            dont_learn: more_flags & 0x40 != 0,
            is_applied: more_flags & 0x80 != 0,
            group_policy: u16::from_be_bytes([p0, p1]),
        };
        Ok(Next::new(Some(Kind::Ethernet), payload))
    }
}
