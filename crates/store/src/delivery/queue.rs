//! What waits to be delivered: on disk, or in memory.

use std::collections::VecDeque;

use crate::{Loss, Losses, Record, Spool, SpoolError};

/// What waits to be delivered. Where there is no room for more, the oldest makes way.
#[derive(Debug)]
pub(crate) enum Queue<P> {
    Disk(Spool),
    Memory(MemoryQueue<P>),
}

/// What comes next.
pub(crate) enum Next<P> {
    Encoded(Record),
    Plain(P),
}

/// A queue that ends with the process.
#[derive(Debug)]
pub(crate) struct MemoryQueue<P> {
    waiting: VecDeque<(P, u64)>,
    /// What was given out, and not acknowledged yet. It does not make way.
    taken: Option<(P, u64)>,
    /// How much the waiting ones count.
    count: u64,
    /// How much they may.
    limit: u64,
    losses: Losses,
}

impl<P: Clone> MemoryQueue<P> {
    pub(crate) fn new(limit: u64) -> Self {
        Self { waiting: VecDeque::new(), taken: None, count: 0, limit, losses: Losses::default() }
    }

    /// Whether nothing has to make way for so much. There is always room for one.
    pub(crate) fn has_room(&self, count: u64) -> bool {
        self.waiting.is_empty() || self.count.saturating_add(count) <= self.limit
    }

    pub(crate) fn append(&mut self, parcel: P, count: u64) {
        while !self.has_room(count)
            && let Some((_, lost)) = self.waiting.pop_front()
        {
            self.count -= lost;
            self.losses.full += Loss { records: 1, sightings: lost, ..Loss::default() };
        }
        self.append_beyond(parcel, count);
    }

    /// The same, whether or not there is room.
    pub(crate) fn append_beyond(&mut self, parcel: P, count: u64) {
        self.count += count;
        self.waiting.push_back((parcel, count));
    }

    /// The oldest one, until it is acknowledged.
    pub(crate) fn oldest(&mut self) -> Option<P> {
        if self.taken.is_none() {
            self.taken = self.waiting.pop_front();
            self.count -= self.taken.as_ref().map_or(0, |(_, count)| *count);
        }
        self.taken.as_ref().map(|(parcel, _)| parcel.clone())
    }

    pub(crate) fn acknowledge(&mut self) {
        self.taken = None;
    }

    /// How many wait, and how much they count.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let (parcels, count) = self.taken.as_ref().map_or((0, 0), |(_, count)| (1, *count));
        (self.waiting.len() as u64 + parcels, self.count + count)
    }

    /// What has made way.
    pub(crate) fn losses(&self) -> Losses {
        self.losses
    }
}

impl<P: Clone> Queue<P> {
    pub(crate) fn oldest(&mut self) -> Result<Option<Next<P>>, SpoolError> {
        match self {
            Self::Disk(spool) => Ok(spool.oldest()?.map(Next::Encoded)),
            Self::Memory(queue) => Ok(queue.oldest().map(Next::Plain)),
        }
    }

    /// What came next was taken.
    pub(crate) fn acknowledge(&mut self) -> Result<(), SpoolError> {
        match self {
            Self::Disk(spool) => spool.acknowledge(),
            Self::Memory(queue) => {
                queue.acknowledge();
                Ok(())
            }
        }
    }

    /// Gives up what was given out and is not acknowledged, where it has made way meanwhile.
    pub(crate) fn release(&mut self) {
        if let Self::Disk(spool) = self {
            spool.release();
        }
    }

    /// Whether nothing has to make way for so much. There is always room for one.
    pub(crate) fn has_room(&self, count: u64) -> bool {
        match self {
            // How many bytes it will be is not known yet. Half of the spool is far more than a
            // parcel should be.
            Self::Disk(spool) => {
                let usage = spool.usage();
                usage.flushes == 0 || usage.bytes <= usage.limit / 2
            }
            Self::Memory(queue) => queue.has_room(count),
        }
    }

    /// How many wait.
    pub(crate) fn parcels(&self) -> u64 {
        match self {
            Self::Disk(spool) => spool.usage().flushes,
            Self::Memory(queue) => queue.waiting().0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parcels() == 0
    }

    pub(crate) fn take_losses(&mut self) -> Losses {
        match self {
            Self::Disk(spool) => spool.take_losses(),
            Self::Memory(queue) => std::mem::take(&mut queue.losses),
        }
    }

    /// Where it is, for messages.
    pub(crate) fn place(&self) -> &'static str {
        match self {
            Self::Disk(_) => "in the spool",
            Self::Memory(_) => "in memory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_way_but_not_what_is_on_its_way() {
        let mut queue = MemoryQueue::new(10);
        for parcel in 1..=3 {
            queue.append(parcel, 4);
        }
        assert_eq!(queue.losses.full, Loss { records: 1, sightings: 4, ..Loss::default() });
        assert_eq!(queue.oldest(), Some(2));
        queue.append(4, 4);
        queue.append(5, 4);
        assert_eq!(queue.losses.full.records, 2);
        assert_eq!(queue.waiting(), (3, 12));
        let mut order = Vec::new();
        while let Some(parcel) = queue.oldest() {
            assert_eq!(queue.oldest(), Some(parcel), "until it is acknowledged");
            order.push(parcel);
            queue.acknowledge();
        }
        assert_eq!((order, queue.waiting()), (vec![2, 4, 5], (0, 0)));
    }

    #[test]
    fn there_is_always_room_for_one() {
        let mut queue = MemoryQueue::new(10);
        queue.append("large", 11);
        assert_eq!(queue.waiting(), (1, 11));
        assert!(!queue.has_room(1));
    }
}
