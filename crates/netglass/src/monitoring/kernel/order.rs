//! Events of several processors in the order of their times, kept back until it can be known whose they
//! are.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

use netglass_kernel::datapath::BootTime;
use netglass_model::Timestamp;

/// An event may be overtaken by one of another processor, and by the opening of its socket, for so long.
const SETTLE: Duration = Duration::from_millis(20);
/// After so long somebody should look at sockets because of it.
const PATIENCE: Duration = Duration::from_millis(250);
/// After so long it is shown, whether it is known whose it is or not.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// How many bytes of events are kept at most; when there are more, the oldest are shown early.
const MOST_BYTES: usize = 64 << 20;
/// What keeping an event takes besides its bytes.
const OVERHEAD: usize = 48;

/// Where in a notification its time is: behind the header of its type.
const DROP: u8 = 1;
const DROP_TIME: usize = 48 + 8;
const TRACE_TIME: usize = 56 + 8;

/// An event that was taken.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    /// Nanoseconds since the start of the system.
    nanoseconds: u64,
    /// How many were taken before it.
    number: u64,
    cpu: i32,
    data: Box<[u8]>,
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.nanoseconds, self.number).cmp(&(other.nanoseconds, other.number))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An event that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) cpu: i32,
    pub(super) data: Box<[u8]>,
}

/// Events that are kept back.
#[derive(Debug, Default)]
pub(super) struct Order {
    kept: BinaryHeap<Reverse<Kept>>,
    bytes: usize,
    taken: u64,
}

impl Order {
    pub(super) fn push(&mut self, cpu: i32, data: &[u8]) {
        let offset = if data.first() == Some(&DROP) { DROP_TIME } else { TRACE_TIME };
        let time = data.get(offset..).and_then(|rest| rest.first_chunk());
        let nanoseconds = time.map_or(0, |time| u64::from_le_bytes(*time));
        self.bytes += data.len() + OVERHEAD;
        let kept = Kept { nanoseconds, number: self.taken, cpu, data: data.into() };
        self.kept.push(Reverse(kept));
        self.taken += 1;
    }

    /// Whether the oldest one has waited for long.
    pub(super) fn is_overdue(&self, clock: BootTime, now: Timestamp) -> bool {
        self.kept.peek().is_some_and(|Reverse(first)| {
            clock.at(first.nanoseconds).saturating_add(PATIENCE) <= now
        })
    }

    /// The oldest one, if it is due: where the owners of sockets are `known_until`, or everything is to be
    /// shown.
    pub(super) fn next_due(
        &mut self,
        clock: BootTime,
        now: Timestamp,
        known_until: Option<Timestamp>,
    ) -> Option<Due> {
        let Reverse(first) = self.kept.peek()?;
        let at = clock.at(first.nanoseconds);
        let is_due = self.bytes > MOST_BYTES
            || known_until.is_none_or(|known| at.saturating_add(SETTLE) <= known)
            || at.saturating_add(MOST_PATIENCE) <= now;
        if !is_due {
            return None;
        }
        let Reverse(Kept { cpu, data, .. }) = self.kept.pop()?;
        self.bytes = self.bytes.saturating_sub(data.len() + OVERHEAD);
        Some(Due { at, cpu, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_at(nanoseconds: u64) -> Vec<u8> {
        let mut data = vec![0; 96];
        data[0] = DROP;
        data[DROP_TIME..DROP_TIME + 8].copy_from_slice(&nanoseconds.to_le_bytes());
        data
    }

    #[test]
    fn events_are_shown_in_order_once_their_owners_can_be_known() {
        let clock = BootTime::read();
        let mut order = Order::default();
        for (cpu, second) in [(0, 3), (1, 1), (0, 2)] {
            order.push(cpu, &drop_at(second * 1_000_000_000));
        }
        let now = clock.at(3_100_000_000);
        assert!(order.is_overdue(clock, now) && !order.is_overdue(clock, clock.at(1_100_000_000)));
        let known = Some(clock.at(2_500_000_000));
        let mut due = Vec::new();
        while let Some(event) = order.next_due(clock, now, known) {
            due.push((event.cpu, event.at));
        }
        assert_eq!(due, [(1, clock.at(1_000_000_000)), (0, clock.at(2_000_000_000))]);
        // Nobody looked, but it was waited for long enough.
        let late = clock.at(5_100_000_000);
        assert_eq!(order.next_due(clock, late, known).unwrap().at, clock.at(3_000_000_000));
        assert_eq!((order.bytes, order.taken), (0, 3));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let clock = BootTime::read();
        let mut order = Order::default();
        let large = vec![4; 1 << 20];
        for _ in 0..80 {
            order.push(0, &large);
        }
        let (now, known) = (clock.at(0), Some(clock.at(0)));
        while order.next_due(clock, now, known).is_some() {}
        assert!(order.bytes <= MOST_BYTES && order.bytes > MOST_BYTES / 2, "{}", order.bytes);
    }
}
