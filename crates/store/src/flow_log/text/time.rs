//! Moments as RFC 3339 has them.

use netglass_model::{
    Timestamp,
    digits::{append_written, pair},
};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// A day, and its date as text. Most moments are of the same day as the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Date {
    /// When it begins, in nanoseconds since 1970.
    begin: i128,
    text: [u8; 11],
}

impl Date {
    pub(super) const EPOCH: Self = Self { begin: 0, text: *b"1970-01-01T" };

    /// How many nanoseconds after the day's beginning a moment is, if it is of that day.
    #[inline]
    fn since(&self, moment: Timestamp) -> Option<u64> {
        let since = i128::from(moment.as_nanoseconds()) - self.begin;
        u64::try_from(since).ok().filter(|&since| since < DAY)
    }

    #[cold]
    fn of(moment: Timestamp) -> Self {
        let days = moment.as_nanoseconds().div_euclid(DAY.cast_signed());
        let (year, month, day) = civil(days);
        let mut text = Self::EPOCH.text;
        for (place, number) in [(0, year / 100), (2, year % 100), (5, month), (8, day)] {
            text[place..place + 2].copy_from_slice(&pair(number));
        }
        Self { begin: i128::from(days) * i128::from(DAY), text }
    }
}

/// Appends a moment in UTC, to the nanosecond.
pub(super) fn append_timestamp(moment: Timestamp, date: &mut Date, out: &mut Vec<u8>) {
    let since = date.since(moment).unwrap_or_else(|| {
        *date = Date::of(moment);
        date.since(moment).unwrap_or(0)
    });
    let (second, fraction) = (lower_half(since / SECOND), lower_half(since % SECOND));

    append_written(out, |text: &mut [u8; 30]| {
        text[..11].copy_from_slice(&date.text);
        let mut put = |place: usize, number| text[place..place + 2].copy_from_slice(&pair(number));
        put(11, second / 3_600);
        put(14, second / 60 % 60);
        put(17, second % 60);
        // The tenths are alone, and what is put before them is put over.
        put(19, fraction / 100_000_000);
        put(21, fraction / 1_000_000 % 100);
        put(23, fraction / 10_000 % 100);
        put(25, fraction / 100 % 100);
        put(27, fraction % 100);
        (text[13], text[16], text[19], text[29]) = (b':', b':', b'.', b'Z');
        text.len()
    });
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
    let quarters = 4 * lower_half((days + 719_468).cast_unsigned()) + 3; // since 0000-03-01
    let century = quarters / ERA;
    let year = u64::from((quarters % ERA) | 3) * YEAR;
    let day_of_year = lower_half(year % (1 << u32::BITS) / YEAR / 4);
    let year = century * 100 + lower_half(year >> u32::BITS);
    let month = 2_141 * day_of_year + 197_913;
    let day = month % (1 << u16::BITS) / 2_141 + 1;
    let month = month >> u16::BITS;
    // January and February are the eleventh and the twelfth one.
    let is_next = day_of_year >= 306;
    (year + u32::from(is_next), if is_next { month - 12 } else { month }, day)
}

/// Of a number that has no other half.
#[expect(clippy::cast_possible_truncation, reason = "numbers of 32 bits are divided faster")]
fn lower_half(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(moment: i64) -> String {
        shown_after(moment, &mut Date::EPOCH.clone())
    }

    fn shown_after(moment: i64, date: &mut Date) -> String {
        let mut out = Vec::new();
        append_timestamp(Timestamp::from_nanoseconds(moment), date, &mut out);
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

        #[test]
        fn a_moment_is_the_same_after_any_other(
            other in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
            near in -200_000_000_000_000_i64..200_000_000_000_000,
            far: i64,
        ) {
            for moment in [other.saturating_add(near), other.wrapping_add(near), far] {
                let mut date = Date::of(Timestamp::from_nanoseconds(other));
                prop_assert_eq!(shown_after(moment, &mut date), shown(moment));
            }
        }
    }
}
