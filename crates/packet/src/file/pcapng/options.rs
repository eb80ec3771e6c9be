//! The options at the end of a block.

use super::{ByteOrder, SUFFIX};

/// How much of a name or a filter is kept.
const TEXT: usize = 256;

/// The numbers of options (draft-ietf-opsawg-pcapng, 3.5 and 4.1 to 4.6).
pub(in crate::file) mod option {
    pub(in crate::file) const END: u16 = 0;
    pub(in crate::file) const COMMENT: u16 = 1;
    pub(in crate::file) const SHB_HARDWARE: u16 = 2;
    pub(in crate::file) const SHB_OS: u16 = 3;
    pub(in crate::file) const SHB_USERAPPL: u16 = 4;
    pub(in crate::file) const IF_NAME: u16 = 2;
    pub(in crate::file) const IF_TSRESOL: u16 = 9;
    pub(in crate::file) const IF_FILTER: u16 = 11;
    pub(in crate::file) const IF_TSOFFSET: u16 = 14;
    pub(in crate::file) const IF_TSOFFSET_NS: u16 = 19;
    pub(in crate::file) const EPB_PROCESSID_THREADID: u16 = 8;
    pub(in crate::file) const ISB_IFRECV: u16 = 4;
    pub(in crate::file) const ISB_IFDROP: u16 = 5;
    pub(in crate::file) const ISB_OSDROP: u16 = 7;
}

/// The options of a block, up to the first one that is not whole.
pub(in crate::file) struct Options<'a> {
    order: ByteOrder,
    bytes: &'a [u8],
}

impl<'a> Options<'a> {
    /// Those of a block in which they begin there.
    pub(in crate::file) fn new(order: ByteOrder, block: &'a [u8], begin: usize) -> Self {
        let end = block.len().saturating_sub(SUFFIX);
        Self { order, bytes: block.get(begin..end).unwrap_or_default() }
    }
}

impl<'a> Iterator for Options<'a> {
    /// The number of an option, and its value.
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.bytes.split_first_chunk()?;
        let code = self.order.u16([*a, *b]);
        let length = usize::from(self.order.u16([*c, *d]));
        let value = rest.get(..length).filter(|_| code != option::END);
        // Values are padded to a multiple of four bytes; the last one may not be.
        self.bytes = match value {
            Some(_) => rest.get(length.next_multiple_of(4)..).unwrap_or_default(),
            None => &[],
        };
        Some((code, value?))
    }
}

/// A text, as far as it is kept.
pub(super) fn text(value: &[u8]) -> String {
    let value = value.get(..TEXT).unwrap_or(value);
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// A number of 64 bits.
pub(super) fn number(order: ByteOrder, value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(|bytes| order.u64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let block = [bytes, &[0; SUFFIX]].concat();
        let options = Options::new(ByteOrder::Big, &block, 0);
        options.map(|(code, value)| (code, value.to_vec())).collect()
    }

    #[test]
    fn options_end_where_they_say() {
        let bytes = [0, 2, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];
        assert_eq!(options(&bytes), [(2, b"x".to_vec())]);
    }

    #[test]
    fn options_end_before_one_that_is_not_whole() {
        let bytes = [0, 2, 0, 1, b'x', 0, 0, 0, 0, 3, 0, 2, b'y'];
        assert_eq!(options(&bytes), [(2, b"x".to_vec())]);
    }
}
