//! Values as text, appended to a buffer without allocating anything else.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use netglass_model::Timestamp;
use uuid::Uuid;

use super::columns::Value;

/// Appends a value that holds no character which any format would have to escape; what may hold
/// such, which is text from outside, is returned instead.
#[expect(clippy::inline_always, reason = "of which kind a value is, is known where it is appended")]
#[inline(always)]
pub(super) fn append<'a>(value: Value<'a>, out: &mut Vec<u8>) -> Option<&'a str> {
    match value {
        Value::Text(text) => return Some(text),
        Value::Name(name) => out.extend_from_slice(name.as_bytes()),
        Value::Id(id) => append_id(id, out),
        Value::Protocol(protocol) => match protocol.name() {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => append_integer(protocol.0.into(), out),
        },
        Value::Address(address) => append_address(address, out),
        Value::TcpFlags(flags) => {
            let (letters, count) = flags.padded_letters();
            append_padded(letters, count.into(), out);
        }
        Value::Integer(integer) => append_integer(integer, out),
        Value::Timestamp(moment) => append_timestamp(moment, out),
    }
    None
}

pub(super) fn append_integer(integer: i64, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(integer) {
        append_small(small, out);
    } else if let Ok(short @ 0..100_000_000) = u32::try_from(integer) {
        append_short(short, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    }
}

/// Most integers are small.
#[inline]
fn append_small(integer: u8, out: &mut Vec<u8>) {
    let (digits, count) = SMALL[usize::from(integer)];
    append_padded(digits, count.into(), out);
}

/// Nearly all others have eight digits at most: with zeros before them they are one number of 64 bits,
/// from which the zeros are shifted out.
fn append_short(integer: u32, out: &mut Vec<u8>) {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    let mut text = [0; 8];
    let mut put = |place: usize, number| text[place..place + 2].copy_from_slice(&digits(number));
    put(0, integer / 1_000_000);
    put(2, integer / 10_000 % 100);
    put(4, integer / 100 % 100);
    put(6, integer % 100);
    let text = u64::from_be_bytes(text);
    let zeros = ((text ^ ZEROS).leading_zeros() / 8).min(7);
    append_padded((text << (zeros * 8)).to_be_bytes(), 8 - zeros as usize, out);
}

/// Appends the first `count` bytes. All of them are copied with the same few instructions, and what is
/// too much is taken back: a copy whose length is only known when it is made takes longer than to
/// find the bytes does.
#[inline]
fn append_padded<const N: usize>(bytes: [u8; N], count: usize, out: &mut Vec<u8>) {
    let end = out.len() + count;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

/// The digits of small integers, and how many they are.
const SMALL: [([u8; 4], u8); 256] = {
    let mut all = [([0; 4], 0); 256];
    let mut integer = 0;
    while integer <= u8::MAX as usize {
        let [_, hundreds] = PAIRS[integer / 100];
        let [tens, ones] = PAIRS[integer % 100];
        all[integer] = match integer {
            0..10 => ([ones, 0, 0, 0], 1),
            10..100 => ([tens, ones, 0, 0], 2),
            _ => ([hundreds, tens, ones, 0], 3),
        };
        integer += 1;
    }
    all
};

/// The two digits of each number below 100, and room up to a power of two: a number's lower bits are
/// sooner taken than it is divided.
const PAIRS: [[u8; 2]; 128] = {
    let mut all = [[b'0'; 2]; 128];
    let mut number = 0_u8;
    while number < 100 {
        all[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    all
};

fn append_id(id: Uuid, out: &mut Vec<u8>) {
    let mut buffer = Uuid::encode_buffer();
    out.extend_from_slice(id.hyphenated().encode_lower(&mut buffer).as_bytes());
}

fn append_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => append_ipv4(address, out),
        IpAddr::V6(address) => {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{address}");
        }
    }
}

fn append_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let [first, rest @ ..] = address.octets();
    append_small(first, out);
    for octet in rest {
        out.push(b'.');
        append_small(octet, out);
    }
}

/// RFC 3339 in UTC, to the nanosecond.
pub(super) fn append_timestamp(moment: Timestamp, out: &mut Vec<u8>) {
    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400;
    let nanoseconds = moment.as_nanoseconds();
    let seconds = nanoseconds.div_euclid(SECOND);
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let second = lower_half(seconds.rem_euclid(DAY));
    let fraction = lower_half(nanoseconds.rem_euclid(SECOND));

    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |place: usize, number| text[place..place + 2].copy_from_slice(&digits(number));
    put(0, year / 100);
    put(2, year % 100);
    put(5, month);
    put(8, day);
    put(11, second / 3_600);
    put(14, second / 60 % 60);
    put(17, second % 60);
    // The tenths are alone, and what is put before them is put over.
    put(19, fraction / 100_000_000);
    put(21, fraction / 1_000_000 % 100);
    put(23, fraction / 10_000 % 100);
    put(25, fraction / 100 % 100);
    put(27, fraction % 100);
    text[19] = b'.';
    out.extend_from_slice(&text);
}

/// The two digits of a number below 100.
#[inline]
fn digits(number: u32) -> [u8; 2] {
    PAIRS[number as usize % 128]
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01. Years begin with
/// March here, so that the leap day is the last one of a year.
///
/// After Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms"
/// (2022): dividing by the days of a year or a month is multiplying by a number whose upper half is the
/// quotient and whose lower half tells the rest.
fn civil(days: i64) -> (u32, u32, u32) {
    const ERA: u32 = 146_097; // days in 400 years
    // 2 to the power of 32, divided by a quarter of the days in four years.
    const YEAR: u64 = 2_939_745;
    let quarters = 4 * lower_half(days + 719_468) + 3; // since 0000-03-01
    let century = quarters / ERA;
    let year = u64::from((quarters % ERA) | 3) * YEAR;
    let day_of_year = lower_half((year % (1 << u32::BITS) / YEAR / 4).cast_signed());
    let year = century * 100 + lower_half((year >> u32::BITS).cast_signed());
    let month = 2_141 * day_of_year + 197_913;
    let day = month % (1 << u16::BITS) / 2_141 + 1;
    let month = month >> u16::BITS;
    // January and February are the eleventh and the twelfth one.
    let is_next = day_of_year >= 306;
    (year + u32::from(is_next), if is_next { month - 12 } else { month }, day)
}

/// Of a number that is not negative and has no other half.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of 32 bits are divided faster"
)]
fn lower_half(number: i64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow_log::{COLUMNS, fixtures};

    fn shown(moment: i64) -> String {
        let mut out = Vec::new();
        append_timestamp(Timestamp::from_nanoseconds(moment), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_to_the_nanosecond() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(shown(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(shown(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(shown(1_709_164_800_000_000_000), "2024-02-29T00:00:00.000000000Z");
        assert_eq!(shown(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(shown(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    proptest! {
        #[test]
        fn moments_read_as_themselves(moment in any::<i64>()) {
            let read: jiff::Timestamp = shown(moment).parse().unwrap();
            prop_assert_eq!(read.as_nanosecond(), i128::from(moment));
        }

        #[test]
        fn all_else_is_as_displayed(record in fixtures::any_record()) {
            for value in COLUMNS.iter().filter_map(|column| column.value(&record)) {
                let mut out = Vec::new();
                let text = append(value, &mut out);
                if !matches!(value, Value::Text(_) | Value::Timestamp(_)) {
                    prop_assert_eq!(text, None);
                    prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
                }
            }
        }
    }
}
