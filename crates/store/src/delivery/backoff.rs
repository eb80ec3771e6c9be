//! How long to wait before something is tried again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// How long to wait before something is tried again: longer each time, and never as long as others
/// do who began to wait at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
    random: RandomState,
}

impl Backoff {
    /// Waits from `shortest` to `longest`.
    pub(crate) fn between(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest, random: RandomState::new() }
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// It failed; `is_lasting` where trying again soon will not help.
    pub(crate) fn after_failure(&mut self, is_lasting: bool) -> Duration {
        let wait = if is_lasting { self.longest } else { self.next };
        self.next = (self.next * 2).min(self.longest);
        // Between half of it and all.
        let half = wait / 2;
        let fraction = self.random.hash_one(self.next) >> 32;
        self.random = RandomState::new();
        half + half.mul_f64(fraction as f64 / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::between(Duration::from_secs(1), Duration::from_secs(30))
    }

    #[test]
    fn each_wait_is_longer_up_to_a_bound() {
        let mut backoff = backoff();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let wait = backoff.after_failure(false);
            let longest = Duration::from_secs(seconds);
            assert!((longest / 2..=longest).contains(&wait), "{wait:?} of {longest:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure(false) <= Duration::from_secs(1));
        assert!(backoff.after_failure(true) >= Duration::from_secs(15));
    }

    #[test]
    fn who_begins_at_the_same_moment_does_not_wait_as_long() {
        let waits: Vec<_> = (0..8).map(|_| backoff().after_failure(false)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
