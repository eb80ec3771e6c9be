//! `DebugCapture`: the captured length has 32 bits before 1.7, then 16.

use super::{DecodeError, Layouts, bytes};
use crate::{
    event::MessageType,
    notification::{Captured, DebugCapture, PacketFlags},
};

const LENGTH: usize = 24;

pub(super) fn decode(data: &[u8], layouts: Layouts) -> Result<DebugCapture<'_>, DecodeError> {
    if data.len() < LENGTH {
        return Err(DecodeError::Short {
            kind: MessageType::Capture,
            expected: LENGTH,
            at_least: false,
            length: data.len(),
        });
    }
    let captured_length =
        if layouts.is_before(7) { bytes::u32(data, 12) } else { bytes::u16(data, 12).into() };
    Ok(DebugCapture {
        sub_type: bytes::u8(data, 1),
        source: bytes::u16(data, 2),
        hash: bytes::u32(data, 4),
        argument: bytes::u32(data, 16),
        captured: Captured {
            original_length: bytes::u32(data, 8),
            captured_length,
            rest: bytes::behind(data, LENGTH),
            flags: PacketFlags::default(),
        },
    })
}
