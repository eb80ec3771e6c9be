//! The order of the bytes in a file's numbers.

/// In which order the bytes of a number are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// The numbers of 32 bits with which `bytes` begin, if there are so many.
    #[inline]
    pub(super) fn words<const COUNT: usize>(self, bytes: &[u8]) -> Option<[u32; COUNT]> {
        let (words, _) = bytes.as_chunks::<4>();
        let words = *words.first_chunk::<COUNT>()?;
        // Asked once for all of them.
        Some(match self {
            Self::Little => words.map(u32::from_le_bytes),
            Self::Big => words.map(u32::from_be_bytes),
        })
    }

    /// The two numbers of 16 bits that a number of 32 bits, read in this order, was made of.
    pub(super) const fn halves(self, word: u32) -> (u16, u16) {
        let [a, b, c, d] = match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        };
        (self.u16([a, b]), self.u16([c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_order() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(ByteOrder::Big.words(&bytes), Some([0x0102_0304, 0x0506_0708]));
        assert_eq!(ByteOrder::Little.words(&bytes), Some([0x0403_0201, 0x0807_0605]));
        assert_eq!(ByteOrder::Big.words::<3>(&bytes), None);
    }

    #[test]
    fn the_halves_of_a_number_are_those_that_stand_in_the_file() {
        let bytes = [1, 2, 3, 4];
        assert_eq!(ByteOrder::Big.halves(ByteOrder::Big.u32(bytes)), (0x0102, 0x0304));
        assert_eq!(ByteOrder::Little.halves(ByteOrder::Little.u32(bytes)), (0x0201, 0x0403));
    }
}
