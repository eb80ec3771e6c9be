//! `TraceSockNotify`: two layouts without a version. The newest is told by the two bytes of padding
//! behind its port, which the kernel clears, where the old one has bytes of an address.

use super::{DecodeError, Layouts, bytes};
use crate::{event::MessageType::TraceSock, notification::TraceSockNotify};

/// Since 1.19.
const LENGTH: usize = 40;
/// 1.13 to 1.18.
const OLD_LENGTH: usize = 38;

pub(super) fn decode(data: &[u8], layouts: Layouts) -> Result<TraceSockNotify, DecodeError> {
    let is_old = match layouts {
        Layouts::Told => has_old_layout(data),
        _ => layouts.is_before(19),
    };
    let expected = if is_old { OLD_LENGTH } else { LENGTH };
    if data.len() < expected {
        let length = data.len();
        return Err(DecodeError::Short { kind: TraceSock, expected, at_least: false, length });
    }
    Ok(if is_old {
        TraceSockNotify {
            translation_point: bytes::u8(data, 1),
            protocol: bytes::u8(data, 36),
            ipv6: bytes::u8(data, 37) & 1 != 0,
            port: bytes::u16(data, 18),
            socket_cookie: bytes::u64(data, 20),
            cgroup: bytes::u64(data, 28),
            address: bytes::address(data, 2),
        }
    } else {
        TraceSockNotify {
            translation_point: bytes::u8(data, 1),
            protocol: bytes::u8(data, 2),
            ipv6: bytes::u8(data, 3) & 1 != 0,
            port: bytes::u16(data, 4),
            socket_cookie: bytes::u64(data, 8),
            cgroup: bytes::u64(data, 16),
            address: bytes::address(data, 24),
        }
    })
}

/// Whether only the old layout makes sense of it: a known protocol and flag, and not in the new one.
fn has_old_layout(data: &[u8]) -> bool {
    let is_known = |protocol: usize, flags: usize| {
        bytes::u8(data, protocol) <= 2 && bytes::u8(data, flags) <= 1
    };
    let is_new = data.len() >= LENGTH && is_known(2, 3) && bytes::u16(data, 6) == 0;
    data.len() >= OLD_LENGTH && is_known(36, 37) && !is_new
}
