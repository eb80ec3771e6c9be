//! Ethernet.

use super::{Context, Malformed, Next, by_ether_type, layer::Shown};

const LENGTH: usize = 14;
/// Below it, what stands in the place of the type is a length (IEEE 802.3).
const LEAST_TYPE: u16 = 0x0600;
/// The type of a frame that has a length instead.
pub(crate) const LLC: u16 = 0;

/// An Ethernet header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ethernet {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) source: [u8; 6],
    pub(crate) destination: [u8; 6],
    pub(crate) ether_type: u16,
    /// Not reset by frames that have a type.
    pub(crate) length: u16,
}

impl Ethernet {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, mut payload)) = data.split_first_chunk::<LENGTH>() else {
            return Err(Malformed::Text("Ethernet packet too small"));
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low] = *header;
        self.destination = [d0, d1, d2, d3, d4, d5];
        self.source = [s0, s1, s2, s3, s4, s5];
        self.ether_type = u16::from_be_bytes([high, low]);
        self.length = 0;
        if self.ether_type < LEAST_TYPE {
            self.length = self.ether_type;
            self.ether_type = LLC;
            match payload.get(..usize::from(self.length)) {
                Some(own) => payload = own,
                None => context.set_truncated(),
            }
        }
        self.contents = Shown::new(header);
        self.payload = Shown::new(payload);
        Ok(Next::new(by_ether_type(self.ether_type, context.library), payload))
    }
}
