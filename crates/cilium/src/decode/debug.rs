//! `DebugMsg`: the same in all releases.

use super::{DecodeError, bytes};
use crate::{event::MessageType, notification::DebugMessage};

const LENGTH: usize = 20;

pub(super) fn decode(data: &[u8]) -> Result<DebugMessage, DecodeError> {
    if data.len() < LENGTH {
        return Err(DecodeError::Short {
            kind: MessageType::Debug,
            expected: LENGTH,
            at_least: false,
            length: data.len(),
        });
    }
    Ok(DebugMessage {
        sub_type: bytes::u8(data, 1),
        source: bytes::u16(data, 2),
        hash: bytes::u32(data, 4),
        arguments: [8, 12, 16].map(|offset| bytes::u32(data, offset)),
    })
}
