//! Puts records into the order of their times.
//!
//! Each source has its records in their order, so the next one of all is the oldest of their next
//! ones. But a processor takes the time of a record and then says that it is there; another one may
//! be quicker in between. So what is younger than [`WINDOW_NS`] is left where it is until it cannot be
//! overtaken any more. What is even later is passed on all the same, and counted.

use std::collections::VecDeque;

use super::{
    record::{self, Record},
    ring::Ring,
};
use crate::Error;

/// For how long a record may be on its way.
pub(super) const WINDOW_NS: u64 = 10_000_000;

/// Where records come from, in the order of their times.
enum Source {
    /// A processor.
    Ring(Ring),
    /// Whoever looked for them.
    Listed(VecDeque<Vec<u8>>),
}

impl Source {
    /// The time of the record that is next; that of none is never.
    fn time_ns(&self) -> u64 {
        let next = match self {
            Self::Ring(ring) => ring.peek(),
            Self::Listed(records) => records.front().and_then(|it| it.first_chunk()),
        };
        next.map_or(u64::MAX, record::time_ns)
    }

    fn pass_on(&mut self, visit: &mut dyn FnMut(Option<Record<'_>>)) -> Result<(), Error> {
        match self {
            Self::Ring(ring) => ring.pass_on(visit)?,
            Self::Listed(records) => {
                if let Some(record) = records.pop_front() {
                    visit(Record::new(&record));
                }
            }
        }
        Ok(())
    }
}

/// What was read, in its order.
pub(super) struct Order {
    /// The last one is a list.
    sources: Vec<Source>,
    /// Of each source.
    times: Vec<u64>,
    last_ns: u64,
    /// Records that came after a younger one was passed on.
    late: u64,
    /// What is not as a record has to be.
    malformed: u64,
    /// Records that rings have passed on.
    taken: u64,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").finish_non_exhaustive()
    }
}

impl Order {
    /// Of what the processors tell.
    pub(super) fn of(rings: Vec<Ring>) -> Self {
        Self::of_sources(rings.into_iter().map(Source::Ring).collect())
    }

    fn of_sources(mut sources: Vec<Source>) -> Self {
        sources.push(Source::Listed(VecDeque::new()));
        let times = Vec::with_capacity(sources.len());
        Self { sources, times, last_ns: 0, late: 0, malformed: 0, taken: 0 }
    }

    /// Takes a record that is in no ring, younger than all before it.
    pub(super) fn push_listed(&mut self, record: &[u8]) {
        if record.len() < record::LENGTH {
            self.malformed += 1;
            return;
        }
        if let Some(Source::Listed(list)) = self.sources.last_mut() {
            list.push_back(record.to_vec());
        }
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// How many records of rings were passed on.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Passes on what is there and not younger than `until_ns`, in order.
    pub(super) fn take_until(
        &mut self,
        until_ns: u64,
        visit: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), Error> {
        let Self { sources, times, last_ns, late, malformed, taken } = self;
        for source in &mut *sources {
            if let Source::Ring(ring) = source {
                ring.look()?;
            }
        }
        times.clear();
        times.extend(sources.iter().map(Source::time_ns));
        let mut pass_on = |record: Option<Record<'_>>| match record {
            Some(record) => {
                let time = record.time_ns();
                *late += u64::from(time < *last_ns);
                *last_ns = time.max(*last_ns);
                visit(record);
            }
            None => *malformed += 1,
        };
        while let Some((first, second)) = oldest(times) {
            let Some((source, time)) = sources.get_mut(first).zip(times.get_mut(first)) else {
                break;
            };
            // Of equal times that of the first source comes first.
            let limit = until_ns.min(second);
            if *time > until_ns || *time == u64::MAX {
                break;
            }
            let is_ring = matches!(source, Source::Ring(_));
            loop {
                source.pass_on(&mut pass_on)?;
                *taken += u64::from(is_ring);
                *time = source.time_ns();
                if *time > limit || *time == u64::MAX {
                    break;
                }
            }
        }
        for source in sources {
            if let Source::Ring(ring) = source {
                ring.give_back()?;
            }
        }
        Ok(())
    }
}

/// Where the oldest time is, and the oldest of the others.
fn oldest(times: &[u64]) -> Option<(usize, u64)> {
    let (mut first, mut oldest, mut second) = (None, u64::MAX, u64::MAX);
    for (index, &time) in times.iter().enumerate() {
        if time < oldest || first.is_none() {
            second = oldest;
            (first, oldest) = (Some(index), time);
        } else {
            second = second.min(time);
        }
    }
    Some((first?, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn record(time: u64) -> [u8; record::LENGTH] {
        let mut bytes = [0; record::LENGTH];
        bytes[..8].copy_from_slice(&time.to_ne_bytes());
        bytes
    }

    fn order<const N: usize>(sources: [&[u64]; N]) -> Order {
        let list = |times: &[u64]| {
            Source::Listed(times.iter().map(|&time| record(time).to_vec()).collect())
        };
        Order::of_sources(sources.into_iter().map(list).collect())
    }

    fn take(order: &mut Order, until: u64) -> Vec<u64> {
        let mut times = Vec::new();
        order.take_until(until, &mut |record| times.push(record.time_ns())).unwrap();
        times
    }

    #[test]
    fn what_is_young_waits_for_what_may_overtake_it() {
        let mut order = order([&[5, 9], &[3]]);
        assert_eq!(take(&mut order, 5), [3, 5]);
        order.push_listed(&record(4));
        order.push_listed(&record(7));
        assert_eq!(take(&mut order, u64::MAX), [4, 7, 9]);
        assert_eq!((order.late(), order.malformed()), (1, 0));
    }

    #[test]
    fn what_has_another_length_is_malformed() {
        let mut bytes = record(1);
        bytes[38] = 1;
        let mut order = order([]);
        order.push_listed(&bytes);
        order.push_listed(&bytes[1..]);
        assert!(take(&mut order, u64::MAX).is_empty());
        assert_eq!(order.malformed(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(
            mut sources in vec(vec(0..1000_u64, 0..50), 3),
            mut listed in vec(0..1000_u64, 0..10),
            cut in 0..1000_u64,
        ) {
            for times in &mut sources {
                times.sort_unstable();
            }
            listed.sort_unstable();
            let mut all = [sources.concat(), listed.clone()].concat();
            let mut order = order([&sources[0], &sources[1], &sources[2]]);
            for time in listed {
                order.push_listed(&record(time));
            }
            let mut taken = take(&mut order, cut);
            prop_assert!(taken.iter().all(|&time| time <= cut));
            taken.extend(take(&mut order, u64::MAX));
            all.sort_unstable();
            prop_assert_eq!(taken, all);
            prop_assert_eq!(order.late(), 0);
        }
    }
}
