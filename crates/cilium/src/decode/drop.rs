//! `DropNotify`: version 1 stands for two lengths, which the release must tell, or the packet.

use super::{DecodeError, Layouts, bytes, kernel_facts, trace::packet_flags};
use crate::{
    event::MessageType::Drop,
    notification::{Captured, DropNotify, PacketFlags},
};

/// The header until 1.12.
const SHORT: usize = 32;
/// The header by its version, since 1.13.
const LENGTHS: [usize; 4] = [36, 36, 40, 48];

/// The Ethernet types that tell where a packet begins.
const PLAUSIBLE: [u16; 5] = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8];

pub(super) fn decode(data: &[u8], layouts: Layouts) -> Result<DropNotify<'_>, DecodeError> {
    let length = data.len();
    let is_strict = layouts == Layouts::V1_20;
    let shortest = if is_strict { LENGTHS[0] } else { SHORT };
    if length < shortest {
        return Err(DecodeError::Short { kind: Drop, expected: shortest, at_least: true, length });
    }
    let is_oldest = layouts.is_before(7);
    let version = if is_oldest { 0 } else { u16::from(bytes::u8(data, 14)) };
    let Some(&by_version) = LENGTHS.get(usize::from(version)) else {
        return Err(DecodeError::Version { kind: Drop, version });
    };
    let header = match version {
        _ if is_strict || version > 1 => by_version,
        0 => SHORT,
        _ if layouts.is_before(13) => SHORT,
        _ if layouts.release().is_some() => by_version,
        _ if has_short_header(data) => SHORT,
        _ => by_version,
    };
    if length < header {
        return Err(DecodeError::ShortVersion { kind: Drop, version, expected: header, length });
    }
    let (kernel, packet) = kernel_facts(data, layouts, Drop, version == 3, header)?;
    let has_location = is_strict || version >= 1 && !layouts.is_before(12);
    let flags =
        if version >= 2 { packet_flags(bytes::u8(data, 36)) } else { PacketFlags::default() };
    let captured_length =
        if is_oldest { bytes::u32(data, 12) } else { bytes::u16(data, 12).into() };
    Ok(DropNotify {
        reason: bytes::u8(data, 1),
        source: bytes::u16(data, 2),
        hash: bytes::u32(data, 4),
        version,
        source_identity: bytes::u32(data, 16),
        destination_identity: bytes::u32(data, 20),
        destination: bytes::u32(data, 24),
        line: has_location.then(|| bytes::u16(data, 28)),
        file: has_location.then(|| bytes::u8(data, 30)),
        extended_error: has_location.then(|| bytes::u8(data, 31).cast_signed()),
        interface: (header > SHORT).then(|| bytes::u32(data, 32)),
        kernel,
        trace_id: (version >= 3).then(|| bytes::u64(data, 40)),
        captured: Captured {
            original_length: bytes::u32(data, 8),
            captured_length,
            rest: bytes::behind(data, packet),
            flags,
        },
    })
}

/// Whether a drop of version 1 has the header of 1.7 to 1.12: the packet, and what a sample is
/// rounded up by, must fill the rest, and a frame must begin where the header ends.
fn has_short_header(data: &[u8]) -> bool {
    let captured = usize::from(bytes::u16(data, 12));
    let fits = |header: usize| {
        data.len().checked_sub(header + captured).is_some_and(|padding| padding < 8)
    };
    let is_frame = |header: usize| {
        let ether_type = data.get(header + 12..).and_then(|rest| rest.first_chunk());
        ether_type.is_some_and(|bytes| PLAUSIBLE.contains(&u16::from_be_bytes(*bytes)))
    };
    let [long, ..] = LENGTHS;
    match (fits(SHORT), fits(long)) {
        (true, true) => is_frame(SHORT) && !is_frame(long),
        (short, _) => short,
    }
}
