//! VRRP, version 2.

use super::{
    Context, Malformed, Next,
    layer::{MOST_SHOWN, Shown},
};

const LENGTH: usize = 8;

/// A VRRP message (RFC 3768).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vrrp {
    pub(crate) contents: Shown,
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) router: u8,
    pub(crate) priority: u8,
    pub(crate) address_count: u8,
    pub(crate) authentication: u8,
    pub(crate) interval: u8,
    pub(crate) checksum: u16,
    pub(crate) addresses: [[u8; 4]; MOST_SHOWN],
}

impl Vrrp {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, behind)) = data.split_first_chunk::<LENGTH>() else {
            context.set_truncated();
            return Err(Malformed::Text("Not a valid VRRP packet. Packet length is too small."));
        };
        let [first, router, priority, address_count, authentication, interval, c0, c1] = *header;
        self.contents = Shown::new(data);
        self.version = first >> 4;
        self.kind = first & 0x0f;
        if self.kind != 1 {
            return Err(Malformed::Text("Unrecognized VRRPv2 type field."));
        }
        self.router = router;
        self.priority = priority;
        self.address_count = address_count;
        if address_count < 1 {
            return Err(Malformed::Text("VRRPv2 number of IP addresses is not valid."));
        }
        let Some(addresses) = behind.get(..usize::from(address_count) * 4) else {
            context.set_truncated();
            return Err(Malformed::Text("VRRPv2 packet too short for IP address count."));
        };
        self.authentication = authentication;
        self.interval = interval;
        self.checksum = u16::from_be_bytes([c0, c1]);
        for (own, address) in self.addresses.iter_mut().zip(addresses.as_chunks().0) {
            *own = *address;
        }
        Ok(Next::NOTHING)
    }
}
