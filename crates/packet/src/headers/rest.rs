//! What is left of a packet behind the headers that were read.

use super::{Malformed, Tunnels};
use crate::Packet;

/// How many headers may lead to those that count. No network stacks as many; whoever makes packets
/// of nothing but tags should not keep anybody busy with them.
pub(super) const MAX_HEADERS: u8 = 32;

/// What is left of a packet behind the headers that were read, and how it is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest<'a> {
    /// What was captured of it.
    pub(super) captured: &'a [u8],
    /// How many bytes followed on the wire.
    missing: usize,
    /// Whether what goes through a tunnel counts.
    pub(super) tunnels: Tunnels,
    /// How many more headers there may be.
    headers: u8,
}

impl<'a> Rest<'a> {
    /// All of a packet.
    pub(super) fn of(packet: &Packet<'a>, tunnels: Tunnels) -> Self {
        let wire_length = usize::try_from(packet.wire_length).unwrap_or(usize::MAX);
        let missing = wire_length.saturating_sub(packet.bytes.len());
        Self { captured: packet.bytes, missing, tunnels, headers: MAX_HEADERS }
    }

    /// The same, with room for one header less.
    pub(super) fn deeper(self) -> Result<Self, Malformed> {
        let headers = self.headers.checked_sub(1).ok_or(Malformed::TooDeep)?;
        Ok(Self { headers, ..self })
    }

    /// How many bytes it had on the wire.
    pub(super) fn length(self) -> usize {
        self.captured.len().saturating_add(self.missing)
    }

    /// The next `N` bytes, and what is behind them.
    pub(super) fn split<const N: usize>(self) -> Result<(&'a [u8; N], Self), Malformed> {
        match self.captured.split_first_chunk() {
            Some((header, captured)) => Ok((header, Self { captured, ..self })),
            None => Err(Malformed::Truncated),
        }
    }

    /// The next `N` bytes, which stay there.
    pub(super) fn peek<const N: usize>(self) -> Result<&'a [u8; N], Malformed> {
        self.captured.first_chunk().ok_or(Malformed::Truncated)
    }

    /// What is behind the next `length` bytes, captured or not.
    pub(super) fn skip(self, length: usize) -> Self {
        if let Some(captured) = self.captured.get(length..) {
            return Self { captured, ..self };
        }
        Self { captured: &[], missing: self.length().saturating_sub(length), ..self }
    }

    /// As much of it as a header says that there is; on the wire there may be padding behind it. A
    /// header that speaks of more than was there is believed: some programs shorten packets
    /// and forget what they were.
    pub(super) fn limit(self, length: usize) -> Self {
        match self.captured.get(..length) {
            Some(captured) => Self { captured, missing: 0, ..self },
            None => Self { missing: length.saturating_sub(self.captured.len()), ..self },
        }
    }
}
