//! Puts records into the order of their times.
//!
//! A processor takes the time of a record and then a place in the ring buffer; another one may be
//! quicker in between. So what is younger than [`WINDOW`] is kept back until it cannot be overtaken
//! any more. What is even later is passed on all the same, and counted.

use std::ops::Range;

use super::record::Record;

/// For how long a record may be on its way into the ring buffer.
pub(super) const WINDOW_NS: u64 = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct Order {
    /// Records, one behind the other.
    bytes: Vec<u8>,
    /// The time of each, and where it stands.
    places: Vec<(u64, Range<usize>)>,
    /// Kept for their room.
    kept: Vec<u8>,
    last_ns: u64,
    /// Records that came after a younger one was passed on.
    late: u64,
    /// What is not as long as a record has to be.
    malformed: u64,
}

impl Order {
    /// Takes a record.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let Some(record) = Record::new(bytes) else {
            self.malformed += 1;
            return;
        };
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.places.push((record.time_ns(), begin..self.bytes.len()));
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// How many records are kept.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Passes on what is not younger than `until_ns`, in order.
    pub(super) fn take_until(&mut self, until_ns: u64, visit: &mut dyn FnMut(Record<'_>)) {
        // Nearly in order already, which this sort is quick with; of equal times the first stays so.
        self.places.sort_by_key(|&(time, _)| time);
        let taken = self.places.partition_point(|&(time, _)| time <= until_ns);
        for (time, place) in self.places.drain(..taken) {
            self.late += u64::from(time < self.last_ns);
            self.last_ns = self.last_ns.max(time);
            if let Some(record) = self.bytes.get(place).and_then(Record::new) {
                visit(record);
            }
        }
        self.kept.clear();
        for (_, place) in &mut self.places {
            let begin = self.kept.len();
            self.kept.extend_from_slice(self.bytes.get(place.clone()).unwrap_or_default());
            *place = begin..self.kept.len();
        }
        std::mem::swap(&mut self.bytes, &mut self.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::LENGTH, *};
    use proptest::{collection::vec, prelude::*};

    fn record(time: u64) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&time.to_ne_bytes());
        bytes
    }

    fn take(order: &mut Order, until: u64) -> Vec<u64> {
        let mut times = Vec::new();
        order.take_until(until, &mut |record| times.push(record.time_ns()));
        times
    }

    #[test]
    fn what_is_young_waits_for_what_may_overtake_it() {
        let mut order = Order::default();
        for time in [5, 3, 9] {
            order.push(&record(time));
        }
        order.push(&[0; LENGTH - 1]);
        assert_eq!(order.malformed(), 1);
        assert_eq!(take(&mut order, 5), [3, 5]);
        assert_eq!(order.len(), 1);
        order.push(&record(7));
        order.push(&record(4));
        assert_eq!(take(&mut order, u64::MAX), [4, 7, 9]);
        assert_eq!((order.late(), order.len()), (1, 0));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(mut times in vec(0..1000_u64, 0..50), cut in 0..1000_u64) {
            let mut order = Order::default();
            for &time in &times {
                order.push(&record(time));
            }
            let mut taken = take(&mut order, cut);
            taken.extend(take(&mut order, u64::MAX));
            times.sort_unstable();
            prop_assert_eq!(taken, times);
        }
    }
}
