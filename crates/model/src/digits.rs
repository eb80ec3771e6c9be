//! Numbers as digits, appended to a buffer: at some million numbers a second, that is a good part of what
//! telling of them takes.

/// Appends a number of 64 bits at most in decimal.
#[inline]
pub fn append_integer(number: impl TryInto<i128>, out: &mut Vec<u8>) {
    let number = number.try_into().unwrap_or(i128::MAX);
    if number < 0 {
        out.push(b'-');
    }
    append_unsigned(u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX), out);
}

#[inline]
fn append_unsigned(number: u64, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(number) {
        let (digits, count) = SMALL[usize::from(small)];
        append_padded(digits, count.into(), out);
    } else {
        append_larger(number, out);
    }
}

#[inline(never)]
fn append_larger(number: u64, out: &mut Vec<u8>) {
    let (rest, last) = eight_last(number);
    if rest == 0 {
        return append_short(last, out);
    }
    let (first, middle) = eight_last(rest);
    if first == 0 {
        append_short(middle, out);
    } else {
        append_short(eight_last(first).1, out);
        out.extend_from_slice(&decimal(middle));
    }
    out.extend_from_slice(&decimal(last));
}

/// What is before the eight last digits of a number, and those.
#[inline]
fn eight_last(number: u64) -> (u64, u32) {
    const EIGHT: u64 = 100_000_000;
    (number / EIGHT, (number % EIGHT) as u32)
}

/// Of eight digits at most: with zeros before them they are one number of 64 bits, from which the zeros are
/// shifted out.
fn append_short(integer: u32, out: &mut Vec<u8>) {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    let text = u64::from_le_bytes(decimal(integer));
    let zeros = ((text ^ ZEROS).trailing_zeros() / 8).min(7);
    append_padded((text >> (zeros * 8)).to_le_bytes(), 8 - zeros as usize, out);
}

/// Appends the first `count` bytes. All of them are copied with the same few instructions, and what is
/// too much is taken back: a copy whose length is only known when it is made takes longer than to
/// find the bytes does.
#[inline]
pub fn append_padded<const N: usize>(bytes: [u8; N], count: usize, out: &mut Vec<u8>) {
    let end = out.len() + count;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

/// Appends the first bytes of those that `write` writes, as many as it returns. They are written where they
/// stay: what was written in pieces is not there yet when it is copied as a whole.
#[inline]
pub fn append_written<const N: usize>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut [u8; N]) -> usize,
) {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    if let Some(room) = out.last_chunk_mut() {
        let count = write(room);
        out.truncate(start + count);
    }
}

/// The two digits of a number below 100.
#[inline]
#[must_use]
pub fn pair(number: u32) -> [u8; 2] {
    PAIRS[number as usize % PAIRS.len()]
}

/// With room up to a power of two: a number's lower bits are sooner taken than it is divided.
const PAIRS: [[u8; 2]; 128] = {
    let mut all = [[b'0'; 2]; 128];
    let mut number = 0_u8;
    while number < 100 {
        all[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    all
};

/// The eight last decimal digits of a number below 100,000,000: all are found at once, first four in each
/// half of a word, then two in each quarter, then one in each byte.
#[inline]
fn decimal(number: u32) -> [u8; 8] {
    let (high, low) = (u64::from(number / 10_000), u64::from(number % 10_000));
    let fours = high | low << 32;
    // 10,486 / 2^20 and 103 / 2^10 are a little more than a hundredth and a tenth.
    let upper = (fours * 10_486) >> 20 & 0x0000_007f_0000_007f;
    let twos = upper | (fours - 100 * upper) << 16;
    let upper = (twos * 103) >> 10 & 0x000f_000f_000f_000f;
    let ones = upper | (twos - 10 * upper) << 8;
    (ones | u64::from_ne_bytes([b'0'; 8])).to_le_bytes()
}

/// The eight hexadecimal digits of a number.
#[inline]
#[must_use]
pub fn hexadecimal(number: u32) -> [u8; 8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // Each in a byte.
    let fours = u64::from(number) | u64::from(number) << 16;
    let fours = fours & 0x0000_ffff_0000_ffff;
    let twos = (fours | fours << 8) & 0x00ff_00ff_00ff_00ff;
    let ones = (twos | twos << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // What is 10 or more has a 16 after that.
    let letters = (ones + 6 * ONES) >> 4 & ONES;
    let text = ones + u64::from(b'0') * ONES + u64::from(b'a' - b'0' - 10) * letters;
    text.to_be_bytes()
}

/// The digits of small numbers, and how many they are.
pub const SMALL: [([u8; 4], u8); 256] = {
    let mut all = [([0; 4], 0); 256];
    let mut number = 0_u8;
    loop {
        let (hundreds, tens, ones) =
            (b'0' + number / 100, b'0' + number / 10 % 10, b'0' + number % 10);
        all[number as usize] = match number {
            0..10 => ([ones, 0, 0, 0], 1),
            10..100 => ([tens, ones, 0, 0], 2),
            _ => ([hundreds, tens, ones, 0], 3),
        };
        if number == u8::MAX {
            break;
        }
        number += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(number: impl TryInto<i128>) -> String {
        let mut out = Vec::new();
        append_integer(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_every_length_are_as_displayed() {
        for power in 0..19 {
            let power = 10_i64.pow(power);
            for integer in [power - 1, power, power + 1, -power] {
                assert_eq!(shown(integer), integer.to_string());
            }
        }
        for integer in [i64::MIN, i64::MAX] {
            assert_eq!(shown(integer), integer.to_string());
        }
        assert_eq!(shown(u64::MAX), u64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn numbers_are_as_displayed(unsigned: u64, signed: i64, bits in 0..u64::BITS) {
            let (unsigned, signed) = (unsigned >> bits, signed >> bits);
            prop_assert_eq!(shown(unsigned), unsigned.to_string());
            prop_assert_eq!(shown(signed), signed.to_string());
        }

        #[test]
        fn eight_digits_are_as_displayed(number in 0_u32..100_000_000, any: u32) {
            prop_assert_eq!(decimal(number).to_vec(), format!("{number:08}").into_bytes());
            prop_assert_eq!(hexadecimal(any).to_vec(), format!("{any:08x}").into_bytes());
            prop_assert_eq!(shown(number), number.to_string());
        }
    }
}
