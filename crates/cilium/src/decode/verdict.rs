//! `PolicyVerdictNotify`: both layouts have version 1, so the release must tell, or the packet.

use super::{DecodeError, Layouts, bytes};
use crate::{
    event::MessageType::PolicyVerdict,
    notification::{Captured, PacketFlags, PolicyVerdictNotify},
};

/// The header until 1.18.
const SHORT: usize = 32;
/// The header since 1.19.
const LONG: usize = 40;

const FLAG_IPV6: u8 = 0x04;
const FLAG_LAYER3_DEVICE: u8 = 0x80;

pub(super) fn decode(
    data: &[u8],
    layouts: Layouts,
) -> Result<PolicyVerdictNotify<'_>, DecodeError> {
    let header = match layouts {
        Layouts::Told if has_short_header(data) => SHORT,
        _ if layouts.is_before(19) => SHORT,
        _ => LONG,
    };
    if data.len() < header {
        return Err(DecodeError::Short {
            kind: PolicyVerdict,
            expected: header,
            at_least: false,
            length: data.len(),
        });
    }
    let verdict_flags = bytes::u8(data, 27);
    Ok(PolicyVerdictNotify {
        source: bytes::u16(data, 2),
        hash: bytes::u32(data, 4),
        version: bytes::u8(data, 14).into(),
        remote_identity: bytes::u32(data, 16),
        verdict: bytes::i32(data, 20),
        destination_port: bytes::u16(data, 24),
        protocol: bytes::u8(data, 26),
        verdict_flags,
        authentication: (!layouts.is_before(14)).then(|| bytes::u8(data, 28)),
        cookie: (header == LONG).then(|| bytes::u32(data, 32)),
        captured: Captured {
            original_length: bytes::u32(data, 8),
            captured_length: bytes::u16(data, 12).into(),
            rest: bytes::behind(data, header),
            flags: PacketFlags {
                ipv6: verdict_flags & FLAG_IPV6 != 0,
                layer3_device: verdict_flags & FLAG_LAYER3_DEVICE != 0,
                vxlan: false,
                geneve: false,
            },
        },
    })
}

/// Whether the packet, and what a sample is rounded up by, fills the rest of the old header alone.
/// Eight bytes lie between both, as many as a sample is never rounded up by.
fn has_short_header(data: &[u8]) -> bool {
    let captured = usize::from(bytes::u16(data, 12));
    data.len().checked_sub(SHORT + captured).is_some_and(|padding| padding < LONG - SHORT)
}
