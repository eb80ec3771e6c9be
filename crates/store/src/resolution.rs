//! How finely the time of observations is kept.
//!
//! Every observation counts at each resolution: as it was written, in the hour, and in the day. Who
//! reads takes the coarsest one that lies within the window as a whole, and goes to the finer one
//! only where the window begins or ends, as long as that one is still kept.

use std::time::Duration;

use netglass_model::Timestamp;

use crate::Settings;

/// How long the buckets of an observation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resolution {
    /// As they were written.
    Written,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Resolution {
    /// All of them, the finest one first.
    pub(crate) const ALL: [Self; 3] = [Self::Written, Self::Hour, Self::Day];

    /// How it is told from the others in a table.
    pub(crate) const fn number(self) -> i16 {
        match self {
            Self::Written => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }

    /// How long its buckets are; unknown for those that were written, as each writer chooses.
    pub(crate) const fn length(self) -> Option<Duration> {
        match self {
            Self::Written => None,
            Self::Hour => Some(Duration::from_secs(60 * 60)),
            Self::Day => Some(Duration::from_secs(24 * 60 * 60)),
        }
    }

    /// The next finer one.
    pub(crate) const fn finer(self) -> Option<Self> {
        match self {
            Self::Written => None,
            Self::Hour => Some(Self::Written),
            Self::Day => Some(Self::Hour),
        }
    }

    /// From when on it is kept at the moment `now`: finer ones from the start of a bucket of the
    /// next coarser one. With it the most that was ever right by then: what lies after that was said
    /// by a clock that was ahead, and must not hide all that is written until then.
    pub(crate) fn kept_since(self, settings: &Settings, now: Timestamp) -> [Timestamp; 2] {
        let (age, length) = match self {
            Self::Written => (settings.hourly_after, Self::Hour.length()),
            Self::Hour => (settings.daily_after, Self::Day.length()),
            Self::Day => (settings.retention, None),
        };
        [now.saturating_sub(age), now]
            .map(|since| length.map_or(since, |length| since.bucket(length)))
    }
}
