//! `TraceNotify`: the version of its layout stands in it since 1.7, and is zero in older ones.

use super::{DecodeError, Layouts, bytes, kernel_facts};
use crate::{
    event::MessageType::Trace,
    notification::{Captured, PacketFlags, TraceNotify},
};

/// The length of the header by its version.
const LENGTHS: [usize; 3] = [32, 48, 56];

const FLAG_IPV6: u8 = 0x01;
const FLAG_LAYER3_DEVICE: u8 = 0x02;
const FLAG_VXLAN: u8 = 0x04;
const FLAG_GENEVE: u8 = 0x08;

pub(super) fn decode(data: &[u8], layouts: Layouts) -> Result<TraceNotify<'_>, DecodeError> {
    let length = data.len();
    let [shortest, ..] = LENGTHS;
    if length < shortest {
        return Err(DecodeError::Short { kind: Trace, expected: shortest, at_least: true, length });
    }
    let is_oldest = layouts.is_before(7);
    let version = if is_oldest { 0 } else { u16::from(bytes::u8(data, 14)) };
    let Some(&expected) = LENGTHS.get(usize::from(version)) else {
        return Err(DecodeError::Version { kind: Trace, version });
    };
    if length < expected {
        return Err(DecodeError::ShortVersion { kind: Trace, version, expected, length });
    }
    let (kernel, packet) = kernel_facts(data, layouts, Trace, version == 2, expected)?;
    let captured_length =
        if is_oldest { bytes::u32(data, 12) } else { bytes::u16(data, 12).into() };
    let flags = bytes::u8(data, 27);
    Ok(TraceNotify {
        observation_point: bytes::u8(data, 1),
        source: bytes::u16(data, 2),
        hash: bytes::u32(data, 4),
        version,
        source_identity: bytes::u32(data, 16),
        destination_identity: bytes::u32(data, 20),
        destination: bytes::u16(data, 24),
        reason: bytes::u8(data, 26),
        interface: bytes::u32(data, 28),
        original_address: (version >= 1).then(|| bytes::address(data, 32)),
        kernel,
        trace_id: (version >= 2).then(|| bytes::u64(data, 48)),
        captured: Captured {
            original_length: bytes::u32(data, 8),
            captured_length,
            rest: bytes::behind(data, packet),
            flags: if is_oldest { PacketFlags::default() } else { packet_flags(flags) },
        },
    })
}

/// The flags of drops and traces.
pub(super) const fn packet_flags(flags: u8) -> PacketFlags {
    PacketFlags {
        ipv6: flags & FLAG_IPV6 != 0,
        layer3_device: flags & FLAG_LAYER3_DEVICE != 0,
        vxlan: flags & FLAG_VXLAN != 0,
        geneve: flags & FLAG_GENEVE != 0,
    }
}
