//! `RecorderCapture`: 1.10 to 1.18.

use super::{DecodeError, bytes};
use crate::{
    event::MessageType,
    notification::{Captured, PacketFlags, RecorderCapture},
};

const LENGTH: usize = 24;

pub(super) fn decode(data: &[u8]) -> Result<RecorderCapture<'_>, DecodeError> {
    if data.len() < LENGTH {
        return Err(DecodeError::Short {
            kind: MessageType::Recorder,
            expected: LENGTH,
            at_least: true,
            length: data.len(),
        });
    }
    Ok(RecorderCapture {
        sub_type: bytes::u8(data, 1),
        rule: bytes::u16(data, 2),
        time: bytes::u64(data, 8),
        captured: Captured {
            original_length: bytes::u32(data, 20),
            captured_length: bytes::u32(data, 16),
            rest: bytes::behind(data, LENGTH),
            flags: PacketFlags::default(),
        },
    })
}
