//! The clock of an interface: what its numbers say in nanoseconds.

use netglass_model::Timestamp;

/// The clock of an interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    unit: Unit,
    /// What is added to each time, in nanoseconds.
    pub(super) offset: i128,
}

/// How long what is counted is.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u32),
    /// So few that this many are one.
    OfNanosecond(u64),
    /// A second, halved so many times.
    Halved(u32),
}

impl Default for Clock {
    /// One of microseconds, as where nothing is said.
    fn default() -> Self {
        Self { unit: Unit::Nanoseconds(1_000), offset: 0 }
    }
}

impl Clock {
    /// Takes the unit that `if_tsresol` tells: the negative power of ten or, with the highest bit, of
    /// two.
    pub(super) fn set_resolution(&mut self, resolution: u8) {
        let power = u32::from(resolution & 0x7f);
        self.unit = if resolution & 0x80 != 0 {
            Unit::Halved(power)
        } else if power <= 9 {
            Unit::Nanoseconds(10_u32.pow(9 - power))
        } else {
            // What is shorter than that adds up to nothing.
            10_u64.checked_pow(power - 9).map_or(Unit::Nanoseconds(0), Unit::OfNanosecond)
        };
    }

    /// The moment at which so much was counted; the nearest one that can be held.
    #[inline]
    pub(super) fn at(&self, count: u64) -> Timestamp {
        let since = match self.unit {
            Unit::Nanoseconds(length) => i128::from(count) * i128::from(length),
            Unit::OfNanosecond(parts) => i128::from(count / parts),
            Unit::Halved(times) => (i128::from(count) * 1_000_000_000) >> times,
        };
        let at = since.saturating_add(self.offset);
        Timestamp::from_nanoseconds(i64::try_from(at).unwrap_or(if at < 0 {
            i64::MIN
        } else {
            i64::MAX
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanoseconds(resolution: u8, count: u64) -> i64 {
        let mut clock = Clock::default();
        clock.set_resolution(resolution);
        clock.at(count).as_nanoseconds()
    }

    #[test]
    fn every_resolution_is_told_in_nanoseconds() {
        assert_eq!(nanoseconds(0, 7), 7_000_000_000);
        assert_eq!(nanoseconds(3, 7), 7_000_000);
        assert_eq!(nanoseconds(9, 7), 7);
        assert_eq!(nanoseconds(12, 7_999), 7);
        assert_eq!(nanoseconds(127, u64::MAX), 0);
        assert_eq!(nanoseconds(0x80, 7), 7_000_000_000);
        assert_eq!(nanoseconds(0x81, 7), 3_500_000_000);
        assert_eq!(nanoseconds(0xff, u64::MAX), 0);
    }

    #[test]
    fn an_offset_is_added() {
        let clock = Clock { offset: -2_000_000_000, ..Clock::default() };
        assert_eq!(clock.at(1_000_000).as_nanoseconds(), -1_000_000_000);
    }

    #[test]
    fn a_moment_too_far_away_is_the_last_one() {
        assert_eq!(nanoseconds(0, u64::MAX), i64::MAX);
        let clock = Clock { offset: i128::from(i64::MIN) * 1_000_000_000, ..Clock::default() };
        assert_eq!(clock.at(0).as_nanoseconds(), i64::MIN);
    }
}
