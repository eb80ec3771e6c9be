//! Numbers as digits.

/// Appends a number in decimal.
#[inline]
pub(super) fn append_integer(integer: i64, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(integer) {
        let (digits, count) = SMALL[usize::from(small)];
        append_padded(digits, count.into(), out);
    } else {
        append_larger(integer, out);
    }
}

#[inline(never)]
fn append_larger(integer: i64, out: &mut Vec<u8>) {
    if let Ok(short @ 0..100_000_000) = u32::try_from(integer) {
        append_short(short, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    }
}

/// Nearly all numbers that are not small have eight digits at most: with zeros before them they are one
/// number of 64 bits, from which the zeros are shifted out.
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
pub(super) fn append_padded<const N: usize>(bytes: [u8; N], count: usize, out: &mut Vec<u8>) {
    let end = out.len() + count;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

/// Appends the first bytes of those that `write` writes, as many as it returns. They are written where they
/// stay: what was written in pieces is not there yet when it is copied as a whole.
#[inline]
pub(super) fn append_written<const N: usize>(
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
pub(super) fn pair(number: u32) -> [u8; 2] {
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
pub(super) fn hexadecimal(number: u32) -> [u8; 8] {
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
pub(super) const SMALL: [([u8; 4], u8); 256] = {
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

    fn shown(integer: i64) -> String {
        let mut out = Vec::new();
        append_integer(integer, &mut out);
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
    }

    proptest! {
        #[test]
        fn eight_digits_are_as_displayed(number in 0_u32..100_000_000, any: u32) {
            prop_assert_eq!(decimal(number).to_vec(), format!("{number:08}").into_bytes());
            prop_assert_eq!(hexadecimal(any).to_vec(), format!("{any:08x}").into_bytes());
            prop_assert_eq!(shown(number.into()), number.to_string());
        }
    }
}
