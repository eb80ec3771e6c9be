//! IPv4.

use super::{Context, Library, Malformed, Next, by_protocol, layer::Shown};

const LEAST_LENGTH: usize = 20;
const MOST_OPTIONS: usize = 40;

/// An IPv4 header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ipv4 {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) version: u8,
    pub(crate) header_words: u8,
    pub(crate) service: u8,
    pub(crate) length: u16,
    pub(crate) identification: u16,
    pub(crate) flags: u8,
    pub(crate) fragment_offset: u16,
    pub(crate) time_to_live: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: u16,
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    /// The bytes of all options.
    options: [u8; MOST_OPTIONS],
    /// How many options were understood.
    pub(crate) option_count: usize,
    /// What is behind the end of options; stays until another packet has such.
    pub(crate) padding: Shown,
}

impl Default for Ipv4 {
    fn default() -> Self {
        Self {
            contents: Shown::default(),
            payload: Shown::default(),
            version: 0,
            header_words: 0,
            service: 0,
            length: 0,
            identification: 0,
            flags: 0,
            fragment_offset: 0,
            time_to_live: 0,
            protocol: 0,
            checksum: 0,
            source: [0; 4],
            destination: [0; 4],
            options: [0; MOST_OPTIONS],
            option_count: 0,
            padding: Shown::default(),
        }
    }
}

impl Ipv4 {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some(header) = data.first_chunk::<LEAST_LENGTH>() else {
            context.set_truncated();
            return Err(Malformed::One("Invalid ip4 header. Length {} less than 20", data.len()));
        };
        let is_early = context.library == Library::V1_1;
        // The old library sets all of it before it checks anything, the new one nothing.
        if is_early {
            self.set(header);
            self.option_count = 0;
        }
        self.header_words = header[0] & 0x0f;
        self.length = u16::from_be_bytes([header[2], header[3]]);
        if self.length == 0 {
            // Segmented by the device: the packet is what there is.
            self.length = u16::try_from(data.len() & 0xffff).unwrap_or_default();
        }
        let length = usize::from(self.length);
        let header_length = usize::from(self.header_words) * 4;
        if length < LEAST_LENGTH {
            return Err(Malformed::One("Invalid (too small) IP length ({} < 20)", length));
        }
        if self.header_words < 5 {
            let words = usize::from(self.header_words);
            return Err(Malformed::One("Invalid (too small) IP header length ({} < 5)", words));
        }
        if header_length > length {
            let words = usize::from(self.header_words);
            let text = "Invalid IP header length > IP length ({} > {})";
            return Err(Malformed::Two(text, words, length));
        }
        let own = data.get(..length).unwrap_or_else(|| {
            context.set_truncated();
            data
        });
        let Some((contents, payload)) = own.split_at_checked(header_length) else {
            return Err(Malformed::Text("Not all IP header bytes available"));
        };
        self.contents = Shown::new(contents);
        self.payload = Shown::new(payload);
        self.option_count = 0;
        self.read_options(contents.get(LEAST_LENGTH..).unwrap_or_default(), context)?;
        if !is_early {
            self.set(header);
        }
        let is_fragment = self.flags & 1 != 0 || self.fragment_offset != 0;
        let kind = by_protocol(self.protocol, context.library).filter(|_| !is_fragment);
        Ok(Next::new(kind, payload))
    }

    fn set(&mut self, header: &[u8; LEAST_LENGTH]) {
        let [first, service, _, _, id0, id1, f0, f1, ttl, protocol, c0, c1, addresses @ ..] =
            *header;
        let flags = u16::from_be_bytes([f0, f1]);
        self.version = first >> 4;
        self.service = service;
        self.identification = u16::from_be_bytes([id0, id1]);
        self.flags = (flags >> 13) as u8;
        self.fragment_offset = flags & 0x1fff;
        self.time_to_live = ttl;
        self.protocol = protocol;
        self.checksum = u16::from_be_bytes([c0, c1]);
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        self.source = [s0, s1, s2, s3];
        self.destination = [d0, d1, d2, d3];
    }

    fn read_options(&mut self, bytes: &[u8], context: &mut Context) -> Result<(), Malformed> {
        for (own, byte) in self.options.iter_mut().zip(bytes) {
            *own = *byte;
        }
        let mut rest = bytes;
        while let [kind, behind @ ..] = rest {
            match kind {
                0 => {
                    self.option_count += 1;
                    self.padding = Shown::new(behind);
                    return Ok(());
                }
                1 => rest = behind,
                _ => {
                    let [length, ..] = behind else {
                        context.set_truncated();
                        let text = "Invalid ip4 option length. Length {} less than 2";
                        return Err(Malformed::One(text, rest.len()));
                    };
                    let (kind, length) = (usize::from(*kind), usize::from(*length));
                    let Some(after) = rest.get(length..) else {
                        context.set_truncated();
                        let text = "IP option length exceeds remaining IP header size, \
                                    option type {} length {}";
                        return Err(Malformed::Two(text, kind, length));
                    };
                    if length <= 2 {
                        let text = "Invalid IP option type {} length {}. Must be greater than 2";
                        return Err(Malformed::Two(text, kind, length));
                    }
                    rest = after;
                }
            }
            self.option_count += 1;
        }
        Ok(())
    }

    /// The options that were understood: each its type and its data.
    pub(crate) fn options(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.options.as_slice();
        (0..self.option_count).map_while(move |_| {
            let (&kind, behind) = rest.split_first()?;
            if kind <= 1 {
                rest = behind;
                return Some((kind, [].as_slice()));
            }
            let length = usize::from(*behind.first()?);
            let data = rest.get(2..length)?;
            rest = rest.get(length..)?;
            Some((kind, data))
        })
    }
}
