//! TCP.

use super::{Context, Library, Malformed, Next, layer::Shown, multipath_tcp};

const LEAST_LENGTH: usize = 20;
const MOST_OPTIONS: usize = 40;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
pub(crate) const MULTIPATH: u8 = 30;

/// A TCP header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcp {
    pub(crate) contents: Shown,
    pub(crate) payload: Shown,
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) data_offset: u8,
    /// `FIN` is 1, `SYN` 2, `RST` 4, `PSH` 8, `ACK` 16, `URG` 32, `ECE` 64, `CWR` 128.
    pub(crate) flags: u8,
    pub(crate) nonce_sum: bool,
    pub(crate) window: u16,
    pub(crate) checksum: u16,
    pub(crate) urgent: u16,
    /// The bytes of all options.
    options: [u8; MOST_OPTIONS],
    options_length: usize,
    /// How many options were understood.
    pub(crate) option_count: usize,
    /// What is behind the end of options; never forgotten by the old library.
    pub(crate) padding: Shown,
    /// Whether there ever was a multipath option; never forgotten by the new library.
    pub(crate) multipath: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            contents: Shown::default(),
            payload: Shown::default(),
            source: 0,
            destination: 0,
            sequence: 0,
            acknowledgment: 0,
            data_offset: 0,
            flags: 0,
            nonce_sum: false,
            window: 0,
            checksum: 0,
            urgent: 0,
            options: [0; MOST_OPTIONS],
            options_length: 0,
            option_count: 0,
            padding: Shown::default(),
            multipath: false,
        }
    }
}

impl Tcp {
    pub(super) fn decode<'a>(
        &mut self,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        let Some(header) = data.first_chunk::<LEAST_LENGTH>() else {
            context.set_truncated();
            return Err(Malformed::One("Invalid TCP header. Length {} less than 20", data.len()));
        };
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, c0, c1, u0, u1] =
            *header;
        self.source = u16::from_be_bytes([s0, s1]);
        self.destination = u16::from_be_bytes([d0, d1]);
        self.sequence = u32::from_be_bytes([q0, q1, q2, q3]);
        self.acknowledgment = u32::from_be_bytes([a0, a1, a2, a3]);
        self.data_offset = offset >> 4;
        self.flags = flags;
        self.nonce_sum = offset & 1 != 0;
        self.window = u16::from_be_bytes([w0, w1]);
        self.checksum = u16::from_be_bytes([c0, c1]);
        self.urgent = u16::from_be_bytes([u0, u1]);
        self.option_count = 0;
        self.options_length = 0;
        if context.library != Library::V1_1 {
            self.padding = Shown::default();
        }
        if self.data_offset < 5 {
            let words = usize::from(self.data_offset);
            return Err(Malformed::One("Invalid TCP data offset {} < 5", words));
        }
        let Some((contents, payload)) = data.split_at_checked(usize::from(self.data_offset) * 4)
        else {
            context.set_truncated();
            return Err(Malformed::Text("TCP data offset greater than packet length"));
        };
        self.contents = Shown::new(contents);
        self.payload = Shown::new(payload);
        self.read_options(contents.get(LEAST_LENGTH..).unwrap_or_default(), context)?;
        Ok(Next::NOTHING)
    }

    fn read_options(&mut self, bytes: &[u8], context: &mut Context) -> Result<(), Malformed> {
        for (own, byte) in self.options.iter_mut().zip(bytes) {
            *own = *byte;
        }
        self.options_length = bytes.len().min(MOST_OPTIONS);
        let mut rest = bytes;
        while let [kind, behind @ ..] = rest {
            self.option_count += 1;
            rest = match *kind {
                END => {
                    self.padding = Shown::new(behind);
                    // The old library goes on behind the end.
                    if context.library != Library::V1_1 {
                        return Ok(());
                    }
                    behind
                }
                NO_OPERATION => behind,
                MULTIPATH if context.library == Library::V1_6 => {
                    self.multipath = true;
                    multipath_tcp::check(rest)?
                }
                kind => {
                    self.multipath |= kind == MULTIPATH;
                    skip_option(rest, context)?
                }
            };
        }
        Ok(())
    }

    /// The options that were understood: each its type and all of its bytes.
    pub(crate) fn options(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.options.get(..self.options_length).unwrap_or_default();
        (0..self.option_count).map_while(move |_| {
            let (&kind, behind) = rest.split_first()?;
            let length = if kind <= NO_OPERATION { 1 } else { usize::from(*behind.first()?) };
            let (option, after) = rest.split_at_checked(length)?;
            rest = after;
            Some((kind, option))
        })
    }
}

/// What is behind an option with a length.
fn skip_option<'a>(rest: &'a [u8], context: &mut Context) -> Result<&'a [u8], Malformed> {
    let [_, length, ..] = *rest else {
        context.set_truncated();
        let text = "Invalid TCP option length. Length {} less than 2";
        return Err(Malformed::One(text, rest.len()));
    };
    let length = usize::from(length);
    if length < 2 {
        return Err(Malformed::One("Invalid TCP option length {} < 2", length));
    }
    rest.get(length..).ok_or_else(|| {
        context.set_truncated();
        let text = "Invalid TCP option length {} exceeds remaining {} bytes";
        Malformed::Two(text, length, rest.len())
    })
}
