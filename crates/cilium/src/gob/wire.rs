//! Numbers and bytes of a message.

use super::GobError;

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl<'a> Wire<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An unsigned integer.
    pub(crate) fn unsigned(&mut self) -> Result<u64, GobError> {
        let (&first, rest) = self.0.split_first().ok_or(GobError::UnexpectedEof)?;
        if first < 0x80 {
            self.0 = rest;
            return Ok(first.into());
        }
        let length = usize::from(first.wrapping_neg());
        if length > 8 {
            return Err(GobError::NumberTooLong);
        }
        let (bytes, rest) = rest.split_at_checked(length).ok_or(GobError::UnexpectedEof)?;
        self.0 = rest;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A signed integer.
    pub(crate) fn signed(&mut self) -> Result<i64, GobError> {
        let number = self.unsigned()?;
        let half = (number >> 1).cast_signed();
        Ok(if number & 1 == 1 { !half } else { half })
    }

    /// Bytes, which their number precedes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| GobError::UnexpectedEof)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(GobError::UnexpectedEof)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let unsigned = |bytes: &[u8]| Wire(bytes).unsigned();
        assert_eq!(unsigned(&[7]), Ok(7));
        assert_eq!(unsigned(&[0xff, 0x80]), Ok(128));
        assert_eq!(unsigned(&[0xfe, 1, 0]), Ok(256));
        assert_eq!(unsigned(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(u64::MAX));
        assert_eq!(unsigned(&[0xf7]), Err(GobError::NumberTooLong));
        assert_eq!(unsigned(&[0xfe, 1]), Err(GobError::UnexpectedEof));
        assert_eq!(Wire(&[6]).signed(), Ok(3));
        assert_eq!(Wire(&[1]).signed(), Ok(-1));
        let least = [0xf8, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(Wire(&least).signed(), Ok(i64::MIN));
    }

    #[test]
    fn bytes_cannot_be_longer_than_there_are() {
        assert_eq!(Wire(&[2, 5, 6, 7]).bytes(), Ok([5, 6].as_slice()));
        assert_eq!(Wire(&[2, 5]).bytes(), Err(GobError::UnexpectedEof));
        let giant = [0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(Wire(&giant).bytes(), Err(GobError::UnexpectedEof));
    }
}
