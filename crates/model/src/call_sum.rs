//! System calls about sockets, added up.

use std::time::Duration;

use crate::{CallConnection, CallName, CommandName, Direction, Transfer};

/// How long calls took, in buckets whose upper ends are at most a quarter above their lower ones.
///
/// The first bucket counts what took less than 128 ns. From there on each power of two is divided
/// into [`Latencies::PARTS`] of the same width, up to 2³⁵ ns (34 seconds); what took longer counts in
/// the last one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Latencies {
    counts: [u64; Self::BUCKETS],
    /// Those of unknown duration.
    unknown: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; Self::BUCKETS], unknown: 0 }
    }
}

impl Latencies {
    /// The power of two, in nanoseconds, at which the first bucket ends.
    pub const FIRST_POWER: u32 = 7;
    /// How many powers of two there are.
    pub const POWERS: u32 = 28;
    /// Into how many parts each is divided.
    pub const PARTS: u32 = 4;
    /// How many buckets there are.
    pub const BUCKETS: usize = 1 + (Self::POWERS * Self::PARTS) as usize;

    /// Adds calls that took about as long as the bucket of that number says; no number stands for
    /// calls of unknown duration.
    pub fn add(&mut self, bucket: Option<usize>, calls: u64) {
        let count = match bucket {
            Some(bucket) => self.counts.get_mut(bucket.min(Self::BUCKETS - 1)),
            None => Some(&mut self.unknown),
        };
        if let Some(count) = count {
            *count = count.saturating_add(calls);
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.unknown = self.unknown.saturating_add(other.unknown);
    }

    /// How many calls there are, those of unknown duration too.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.timed().saturating_add(self.unknown)
    }

    /// How many calls there are of known duration.
    #[must_use]
    pub fn timed(&self) -> u64 {
        self.counts.into_iter().fold(0, u64::saturating_add)
    }

    /// What so many in a thousand calls did not exceed, taking those of a bucket as evenly spread
    /// over it; none without a call of known duration.
    #[must_use]
    pub fn quantile(&self, thousandths: u32) -> Option<Duration> {
        let calls = u128::from(self.timed());
        if calls == 0 {
            return None;
        }
        // The rank of the call, from 1.
        let rank = (calls * u128::from(thousandths.min(1000))).div_ceil(1000).max(1);
        let mut below = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            let count = u128::from(count);
            if below + count >= rank {
                let (begin, end) = Self::bounds(bucket);
                let width = u128::from(end - begin);
                let into = width * (rank - below) / count.max(1);
                let into = u64::try_from(into).unwrap_or_default();
                return Some(Duration::from_nanos(begin.saturating_add(into)));
            }
            below += count;
        }
        None
    }

    /// Where a bucket begins, and where it ends.
    fn bounds(bucket: usize) -> (u64, u64) {
        let first = 1_u64 << Self::FIRST_POWER;
        let Some(place) = bucket.checked_sub(1).and_then(|it| u32::try_from(it).ok()) else {
            return (0, first);
        };
        let power = Self::FIRST_POWER + place / Self::PARTS;
        let begin = 1_u64.checked_shl(power).unwrap_or(u64::MAX);
        let width = begin / u64::from(Self::PARTS);
        let begin = begin.saturating_add(width * u64::from(place % Self::PARTS));
        (begin, begin.saturating_add(width))
    }
}

/// Who made the calls of a sum: a process, whichever its thread. Ids are those of the pid and user
/// namespaces in which Netglass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CallingProcess {
    /// Process (thread group) id.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group id, where it is known.
    pub pgid: Option<u32>,
    /// Real user id.
    pub uid: u32,
    /// When it started, since the kernel booted, where that is known.
    pub started: Option<Duration>,
    /// The process's name, which is that of its first thread.
    pub comm: CommandName,
    /// The parent's.
    pub parent_comm: CommandName,
}

/// Calls of one name by one process on one connection that ended in the same way, since they were
/// collected the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSum {
    /// Which call.
    pub name: CallName,
    /// Whose, as of the first of the calls.
    pub process: CallingProcess,
    /// With which error (`errno`) they failed; none for those that succeeded.
    pub error: Option<u32>,
    /// The socket's family, where it is known.
    pub family: Option<u16>,
    /// The connection; none where there was no socket, or where it was closed meanwhile. Its state
    /// and cookie are not known. The remote end of an unconnected socket is what the call named or
    /// was given. Where calls are added up by service, the port of the end that asked is 0.
    pub connection: Option<CallConnection>,
    /// Which end it is, as far as the socket tells.
    pub direction: Direction,
    /// The descriptor; none where calls are added up by service.
    pub fd: Option<i32>,
    /// Which way data went, of calls that move data.
    pub transfer: Option<Transfer>,
    /// How many bytes.
    pub bytes: u64,
    /// The time that calls took together.
    pub duration: Duration,
    /// How long they took each, and how many they are.
    pub latencies: Latencies,
}

impl CallSum {
    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.latencies.calls()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the kernel programs choose it.
    fn bucket_of(nanoseconds: u64) -> usize {
        (0..Latencies::BUCKETS)
            .find(|&bucket| nanoseconds < Latencies::bounds(bucket).1)
            .unwrap_or(Latencies::BUCKETS - 1)
    }

    #[test]
    fn buckets_follow_upon_each_other() {
        assert_eq!(Latencies::bounds(0), (0, 128));
        assert_eq!(Latencies::bounds(1), (128, 160));
        assert_eq!(Latencies::bounds(4), (224, 256));
        assert_eq!(Latencies::bounds(5), (256, 320));
        assert_eq!(Latencies::bounds(Latencies::BUCKETS - 1).1, 1 << 35);
        for bucket in 1..Latencies::BUCKETS {
            assert_eq!(Latencies::bounds(bucket - 1).1, Latencies::bounds(bucket).0);
        }
    }

    #[test]
    fn calls_of_unknown_duration_are_calls_without_being_long_or_short() {
        let mut latencies = Latencies::default();
        latencies.add(None, 3);
        assert_eq!((latencies.calls(), latencies.quantile(500)), (3, None));
        latencies.add(Some(usize::MAX), 1);
        assert_eq!(latencies.quantile(500), Some(Duration::from_nanos(1 << 35)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_a_quarter_of_the_true_one(
            mut durations in proptest::collection::vec(128..1_u64 << 35, 1..200),
            thousandths in 0..=1000_u32,
        ) {
            let mut latencies = Latencies::default();
            for &duration in &durations {
                latencies.add(Some(bucket_of(duration)), 1);
            }
            durations.sort_unstable();
            let rank = (durations.len() * thousandths as usize).div_ceil(1000).max(1);
            let exact = durations[rank - 1] as f64;
            let found = latencies.quantile(thousandths).unwrap().as_nanos() as f64;
            prop_assert!((found / exact - 1.0).abs() <= 0.25, "{found} for {exact}");
        }
    }
}
