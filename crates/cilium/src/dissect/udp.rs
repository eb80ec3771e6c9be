//! UDP.

use super::{Context, Malformed, Next, layer::Shown};

const LENGTH: usize = 8;

/// A UDP header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Udp {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) length: u16,
    pub(crate) checksum: u16,
}

impl Udp {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, behind)) = data.split_first_chunk::<LENGTH>() else {
            context.set_truncated();
            return Err(Malformed::One("Invalid UDP header. Length {} less than 8", data.len()));
        };
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
        *self = Self {
            contents: Shown::new(header),
            payload: Shown::default(),
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            length: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        };
        let payload = match usize::from(self.length) {
            // A jumbogram, or segmented by the device: all there is.
            0 => behind,
            length @ ..LENGTH => {
                return Err(Malformed::One("UDP packet too small: {} bytes", length));
            }
            length => behind.get(..length - LENGTH).unwrap_or_else(|| {
                context.set_truncated();
                behind
            }),
        };
        self.payload = Shown::new(payload);
        Ok(Next::new(None, payload))
    }
}
