//! Moments as RFC 3339 has them.

use netglass_model::Timestamp;

use super::digits::pair;

/// Appends a moment in UTC, to the nanosecond.
pub(in crate::flow_log) fn append_timestamp(moment: Timestamp, out: &mut Vec<u8>) {
    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400;
    let nanoseconds = moment.as_nanoseconds();
    let seconds = nanoseconds.div_euclid(SECOND);
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let second = lower_half(seconds.rem_euclid(DAY));
    let fraction = lower_half(nanoseconds.rem_euclid(SECOND));

    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |place: usize, number| text[place..place + 2].copy_from_slice(&pair(number));
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

    #[test]
    fn every_day_that_there_can_be_is_the_one_after_the_one_before_it() {
        const DAY: i64 = 86_400_000_000_000;
        let days = i64::MIN / DAY..=i64::MAX / DAY;
        let mut expected = jiff::civil::date(1677, 9, 22);
        for day in days {
            assert_eq!(shown(day * DAY)[..10], expected.to_string());
            expected = expected.tomorrow().unwrap();
        }
    }

    proptest! {
        #[test]
        fn moments_read_as_themselves(moment in any::<i64>()) {
            let read: jiff::Timestamp = shown(moment).parse().unwrap();
            prop_assert_eq!(read.as_nanosecond(), i128::from(moment));
        }
    }
}
