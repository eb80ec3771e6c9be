//! Moments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be held.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment that can be held.
    pub const MAX: Self = Self(i64::MAX);

    /// A moment by its nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanoseconds(self) -> i64 {
        self.0
    }

    /// The moment `duration` later; the latest one that can be held where that is too far.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// The moment `duration` earlier; the earliest one that can be held where that is too far.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(duration)))
    }

    /// How long ago `earlier` was; zero if it is later than `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The start of the time bucket of length `bucket` that holds this moment. Buckets are aligned
    /// to the Unix epoch. A bucket of no length holds its own moment alone.
    #[must_use]
    pub fn bucket(self, bucket: Duration) -> Self {
        let length = nanoseconds(bucket).max(1);
        Self(self.0.div_euclid(length).saturating_mul(length))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(nanoseconds(after)),
            Err(before) => Self(nanoseconds(before.duration()).saturating_neg()),
        }
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_bucket_starts_at_a_multiple_of_its_length() {
        let at = |seconds: i64| Timestamp::from_nanoseconds(seconds * 1_000_000_000);
        assert_eq!(at(61).bucket(MINUTE), at(60));
        assert_eq!(at(60).bucket(MINUTE), at(60));
        assert_eq!(at(-1).bucket(MINUTE), at(-60));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_moment(nanoseconds in any::<i64>(), length in 1_u64..1 << 50) {
            let moment = Timestamp::from_nanoseconds(nanoseconds);
            let start = moment.bucket(Duration::from_nanos(length));
            // Only within one length of the earliest moment does the start not fit any more.
            prop_assume!(start > Timestamp::MIN);
            prop_assert!(start <= moment);
            prop_assert!(moment.since(start) < Duration::from_nanos(length));
        }
    }
}
