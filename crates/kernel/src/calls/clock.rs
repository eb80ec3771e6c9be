//! The kernel programs' clock, and that of everybody else.

use std::time::SystemTime;

use netglass_model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Turns times of `CLOCK_MONOTONIC` into moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The moment at which that clock stood at 0.
    origin_ns: i64,
}

impl Clock {
    /// As the two stand now.
    pub(super) fn read() -> Self {
        let monotonic = i64::try_from(monotonic_ns()).unwrap_or_default();
        let now = Timestamp::from(SystemTime::now()).as_nanoseconds();
        Self { origin_ns: now.saturating_sub(monotonic) }
    }

    /// Times stay what they are.
    pub(super) const fn since_boot() -> Self {
        Self { origin_ns: 0 }
    }

    #[cfg(test)]
    pub(super) const fn at(origin_ns: i64) -> Self {
        Self { origin_ns }
    }

    pub(super) fn timestamp(self, monotonic_ns: u64) -> Timestamp {
        let since = i64::try_from(monotonic_ns).unwrap_or(i64::MAX);
        Timestamp::from_nanoseconds(self.origin_ns.saturating_add(since))
    }
}

/// Now, as the kernel programs tell it (`bpf_ktime_get_ns`).
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
