//! Netlink messages and attributes as bytes (`linux/netlink.h`), read in place.

/// The length of `struct nlmsghdr`.
const HEADER_LENGTH: usize = 16;
/// The length of `struct nlattr`.
const ATTRIBUTE_HEADER_LENGTH: usize = 4;
/// `NLMSG_ALIGNTO` and `NLA_ALIGNTO`.
const ALIGNMENT: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: flags in an attribute's kind.
const ATTRIBUTE_FLAGS: u16 = 0xc000;

/// Bytes that are no netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    /// What is wrong, for people.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        self.0
    }
}

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: that of the request which the message answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The error number in the payload of an `NLMSG_ERROR` or `NLMSG_DONE`, where it tells of an
    /// error.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        let code = i32::from_ne_bytes(*self.payload.first_chunk()?);
        (code < 0).then(|| code.saturating_neg())
    }
}

/// The messages of one datagram.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    fn parse(&self) -> Result<(Message<'a>, &'a [u8]), Malformed> {
        let header: &[u8; HEADER_LENGTH] =
            self.rest.first_chunk().ok_or(Malformed("a message header is not whole"))?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let payload = self
            .rest
            .get(HEADER_LENGTH..length)
            .ok_or(Malformed("a message is not as long as it says"))?;
        let message = Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        };
        Ok((message, after(self.rest, length)))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = self.parse();
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(message, _)| message))
    }
}

/// The attributes that follow a message's fixed part: kind and value. They end at the first one
/// that is not whole.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.rest.first_chunk::<ATTRIBUTE_HEADER_LENGTH>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(ATTRIBUTE_HEADER_LENGTH..length)?;
        self.rest = after(self.rest, length);
        Some((u16::from_ne_bytes([k0, k1]) & !ATTRIBUTE_FLAGS, value))
    }
}

/// What follows `length` bytes and the padding behind them.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default()
}

/// Writes one message over what `buffer` held.
pub(crate) fn write_request(
    buffer: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &[u8],
) {
    let length = u32::try_from(HEADER_LENGTH + payload.len()).unwrap_or(u32::MAX);
    buffer.clear();
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(&flags.to_ne_bytes());
    buffer.extend_from_slice(&sequence.to_ne_bytes());
    // nlmsg_pid: the kernel fills in who asks.
    buffer.extend_from_slice(&0_u32.to_ne_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(buffer.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_are_read_past_their_padding() {
        let bytes = [5, 0, 8, 0, 0xff, 0, 0, 0, 8, 0, 2, 0x80, 1, 2, 3, 4];
        let attributes: Vec<_> = Attributes::new(&bytes).collect();
        assert_eq!(attributes, [(8, &[0xff][..]), (2, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn an_attribute_shorter_than_its_header_ends_the_list() {
        assert_eq!(Attributes::new(&[3, 0, 8, 0, 0, 0, 0, 0]).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Messages::new(&bytes).count() <= bytes.len());
            prop_assert!(Attributes::new(&bytes).count() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(
            kind in any::<u16>(),
            sequence in any::<u32>(),
            payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = Vec::new();
            write_request(&mut bytes, kind, 0x301, sequence, &payload);
            let messages: Vec<_> = Messages::new(&bytes).collect();
            prop_assert_eq!(
                messages,
                vec![Ok(Message { kind, flags: 0x301, sequence, payload: &payload })]
            );
        }
    }
}
