//! The one clock that all times of a client's traces are read from.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment on a client's clock: nanoseconds since the client was made. It never goes back, and
/// is the same before and after a trace is cleared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// How long after `earlier` this is; nothing when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads moments without a lock and without a system call that waits.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_on_wall: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), origin_on_wall: SystemTime::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The moment that an instant is.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Moment {
        let elapsed = instant.saturating_duration_since(self.origin);
        Moment(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// What a calendar and a watch said at the moment, had nobody set them since the client was
    /// made.
    #[must_use]
    pub fn on_wall(&self, moment: Moment) -> Timestamp {
        Timestamp::try_from(self.origin_on_wall + Duration::from_nanos(moment.0))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The moment at which a clock on the wall said this.
    #[must_use]
    pub fn from_wall(&self, time: SystemTime) -> Moment {
        let since = time.duration_since(self.origin_on_wall).unwrap_or_default();
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}
