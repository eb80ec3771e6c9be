//! Geneve.

use super::{
    Context, Malformed, Next, by_ether_type,
    layer::{MOST_SHOWN, Shown},
};

/// A Geneve header (RFC 8926).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Geneve {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) version: u8,
    pub(crate) options_length: u8,
    pub(crate) is_control: bool,
    pub(crate) is_critical: bool,
    pub(crate) protocol: u16,
    pub(crate) network: u32,
    pub(crate) options: [GeneveOption; MOST_SHOWN],
    pub(crate) option_count: usize,
}

/// An option of a Geneve header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GeneveOption {
    pub(crate) class: u16,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) length: u8,
    pub(crate) data: Shown,
}

impl Geneve {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some(&[first, flags, p0, p1, n0, n1, n2]) = data.first_chunk::<7>() else {
            context.set_truncated();
            return Err(Malformed::Text("geneve packet too short"));
        };
        // The library takes the version's upper bit for all of it.
        self.version = first >> 7;
        self.options_length = (first & 0x3f) * 4;
        self.option_count = 0;
        self.is_control = flags & 0x80 != 0;
        self.is_critical = flags & 0x40 != 0;
        self.protocol = u16::from_be_bytes([p0, p1]);
        self.network = u32::from_be_bytes([0, n0, n1, n2]);
        let mut left = i32::from(self.options_length);
        if data.len() < usize::from(self.options_length) + 7 {
            context.set_truncated();
            return Err(Malformed::Text("geneve packet too short"));
        }
        let mut offset = 8;
        while left > 0 {
            let option = self.read_option(data.get(offset..).unwrap_or_default(), context)?;
            left -= i32::from(option.length);
            offset += usize::from(option.length);
        }
        let Some((contents, payload)) = data.split_at_checked(offset) else {
            let text = "panic: runtime error: slice bounds out of range [{}:{}]";
            return Err(Malformed::Two(text, offset, data.len()));
        };
        self.contents = Shown::new(contents);
        self.payload = Shown::new(payload);
        Ok(Next::new(by_ether_type(self.protocol, context.library), payload))
    }

    fn read_option(
        &mut self,
        data: &[u8],
        context: &mut Context,
    ) -> Result<GeneveOption, Malformed> {
        let (Some(&[c0, c1, kind, last]), too_small) =
            (data.first_chunk::<4>(), Malformed::Text("geneve option too small"))
        else {
            context.set_truncated();
            return Err(Malformed::Text("geneve option too small"));
        };
        let length = (last & 0x1f) * 4 + 4;
        let Some(value) = data.get(4..usize::from(length)) else {
            context.set_truncated();
            return Err(too_small);
        };
        let option = GeneveOption {
            class: u16::from_be_bytes([c0, c1]),
            kind,
            flags: last >> 5,
            length,
            data: Shown::new(value),
        };
        if let Some(place) = self.options.get_mut(self.option_count) {
            *place = option;
        }
        self.option_count += 1;
        Ok(option)
    }
}
