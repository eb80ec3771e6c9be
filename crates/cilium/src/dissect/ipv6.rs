//! IPv6 with its hop-by-hop header, which is decoded as a part of it.

use super::{
    Context, Library, Malformed, Next, by_protocol,
    layer::{MOST_SHOWN, Shown},
};

const LENGTH: usize = 40;
const HOP_BY_HOP: u8 = 0;
const JUMBO: u8 = 0xc2;
const MOST_PAYLOAD: u32 = 65_535;

/// An IPv6 header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ipv6 {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) version: u8,
    pub(crate) traffic_class: u8,
    pub(crate) flow_label: u32,
    pub(crate) length: u16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) has_hop_by_hop: bool,
    pub(crate) hop_by_hop: HopByHop,
}

/// A hop-by-hop header. Its options are never forgotten by the old library.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HopByHop {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) next_header: u8,
    pub(crate) header_length: u8,
    pub(crate) options: [HopByHopOption; MOST_SHOWN],
    pub(crate) option_count: usize,
    /// The first option that tells the length of a jumbogram: how long it is, and what it tells.
    jumbo: Option<(usize, u32)>,
}

/// An option of a hop-by-hop header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HopByHopOption {
    pub(crate) kind: u8,
    pub(crate) length: u8,
    pub(crate) actual_length: usize,
    pub(crate) data: Shown,
}

impl Ipv6 {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some((header, mut payload)) = data.split_first_chunk::<LENGTH>() else {
            context.set_truncated();
            return Err(Malformed::One("Invalid ip6 header. Length {} less than 40", data.len()));
        };
        let [a, b, c, d, l0, l1, next_header, hop_limit, addresses @ ..] = *header;
        let word = u32::from_be_bytes([a, b, c, d]);
        self.version = a >> 4;
        self.traffic_class = (word >> 20 & 0xff) as u8;
        self.flow_label = word & 0x000f_ffff;
        self.length = u16::from_be_bytes([l0, l1]);
        self.next_header = next_header;
        self.hop_limit = hop_limit;
        let (source, destination) = addresses.split_at(16);
        self.source.copy_from_slice(source);
        self.destination.copy_from_slice(destination);
        self.has_hop_by_hop = false;
        self.contents = Shown::new(header);
        self.payload = Shown::new(payload);
        if next_header == HOP_BY_HOP {
            let behind = self.hop_by_hop.decode(payload, context)?;
            self.has_hop_by_hop = true;
            match (self.hop_by_hop.jumbo_length()?, self.length) {
                (Some(length), 0) => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    let own = payload.get(..length).unwrap_or_else(|| {
                        context.set_truncated();
                        payload
                    });
                    self.payload = Shown::new(own);
                    // The library goes on with the hop-by-hop header itself.
                    let rest = if context.library == Library::Own { behind } else { own };
                    return Ok(self.next(rest, context.library));
                }
                (Some(_), _) => {
                    return Err(Malformed::Text("IPv6 has jumbo length and IPv6 length is not 0"));
                }
                (None, 0) => {
                    return Err(Malformed::Text(
                        "IPv6 length 0, but HopByHop header does not have jumbogram option",
                    ));
                }
                (None, _) => payload = behind,
            }
        }
        if self.length == 0 && !(context.library == Library::Own && payload.is_empty()) {
            return Err(Malformed::NoLength(next_header));
        }
        let mut length = usize::from(self.length);
        if self.has_hop_by_hop && context.library == Library::Own {
            length = length.saturating_sub(self.hop_by_hop.actual_length());
        }
        let own = payload.get(..length).unwrap_or_else(|| {
            context.set_truncated();
            payload
        });
        self.payload = Shown::new(own);
        Ok(self.next(own, context.library))
    }

    fn next<'a>(&self, payload: &'a [u8], library: Library) -> Next<'a> {
        let next = if self.has_hop_by_hop { self.hop_by_hop.next_header } else { self.next_header };
        Next::new(by_protocol(next, library), payload)
    }
}

impl HopByHop {
    pub(crate) fn actual_length(&self) -> usize {
        usize::from(self.header_length) * 8 + 8
    }

    /// What is behind it.
    fn decode<'a>(&mut self, data: &'a [u8], context: &mut Context) -> Result<&'a [u8], Malformed> {
        let [next_header, header_length, ..] = *data else {
            context.set_truncated();
            let text = "Invalid ip6-extension header. Length {} less than 2";
            return Err(Malformed::One(text, data.len()));
        };
        self.next_header = next_header;
        self.header_length = header_length;
        let length = self.actual_length();
        let Some((contents, payload)) = data.split_at_checked(length) else {
            let text = "Invalid ip6-extension header. Length {} less than specified length {}";
            return Err(Malformed::Two(text, data.len(), length));
        };
        self.contents = Shown::new(contents);
        self.payload = Shown::new(payload);
        if context.library != Library::V1_1 {
            self.option_count = 0;
            self.jumbo = None;
        }
        let mut offset = 2;
        while offset < length {
            // The library lets an option reach behind the header.
            let option = self.read_option(data.get(offset..).unwrap_or_default(), context)?;
            offset += option.actual_length;
        }
        Ok(payload)
    }

    fn read_option(
        &mut self,
        data: &[u8],
        context: &mut Context,
    ) -> Result<HopByHopOption, Malformed> {
        let [kind, length, ..] = *data else {
            context.set_truncated();
            return Err(Malformed::Text("IPv6 header option too small"));
        };
        let option = if kind == 0 {
            HopByHopOption { actual_length: 1, ..HopByHopOption::default() }
        } else {
            let actual_length = usize::from(length) + 2;
            let Some(value) = data.get(2..actual_length) else {
                context.set_truncated();
                return Err(Malformed::Text("IPv6 header TLV option too small"));
            };
            if kind == JUMBO && self.jumbo.is_none() {
                let told = value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                self.jumbo = Some((value.len(), told));
            }
            HopByHopOption { kind, length, actual_length, data: Shown::new(value) }
        };
        if let Some(place) = self.options.get_mut(self.option_count) {
            *place = option;
        }
        self.option_count = self.option_count.saturating_add(1);
        Ok(option)
    }

    fn jumbo_length(&self) -> Result<Option<u32>, Malformed> {
        match self.jumbo {
            None => Ok(None),
            Some((4, length)) if length > MOST_PAYLOAD => Ok(Some(length)),
            Some((4, _)) => Err(Malformed::One("Jumbo length cannot be less than {}", 65_536)),
            Some(_) => Err(Malformed::Text("Jumbo length TLV data must have length 4")),
        }
    }
}
