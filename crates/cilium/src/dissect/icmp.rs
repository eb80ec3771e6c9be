//! ICMP for IPv4 and IPv6.

use super::{Context, Malformed, Next, layer::Shown};

/// An ICMP header (RFC 792).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Icmpv4 {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) checksum: u16,
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
}

impl Icmpv4 {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, payload)) = data.split_first_chunk::<8>() else {
            context.set_truncated();
            return Err(Malformed::Text("ICMP layer less then 8 bytes for ICMPv4 packet"));
        };
        let [kind, code, c0, c1, i0, i1, s0, s1] = *header;
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::new(payload),
            kind,
            code,
            checksum: u16::from_be_bytes([c0, c1]),
            identifier: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
        };
        Ok(Next::NOTHING)
    }
}

/// A header of ICMP for IPv6 (RFC 4443).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Icmpv6 {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) checksum: u16,
}

impl Icmpv6 {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, payload)) = data.split_first_chunk::<4>() else {
            context.set_truncated();
            return Err(Malformed::Text("ICMP layer less then 4 bytes for ICMPv6 packet"));
        };
        let [kind, code, c0, c1] = *header;
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::new(payload),
            kind,
            code,
            checksum: u16::from_be_bytes([c0, c1]),
        };
        Ok(Next::NOTHING)
    }
}
