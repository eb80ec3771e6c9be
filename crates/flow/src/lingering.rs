//! Flows whose connection is closed.

use std::collections::VecDeque;

use crate::flows::FlowHandle;

/// Flows in the order in which their connections were closed: all of them end after the same time, so
/// that the first one ends first.
///
/// They stay in the wheel, as taking one from there means to touch its neighbours: here that is done
/// for many together.
#[derive(Debug)]
pub(crate) struct Lingering {
    queue: VecDeque<(FlowHandle, u32)>,
    /// A tick is a moment divided by two to the power of this.
    shift: u32,
    /// After how many ticks the time of whatever was added has passed.
    ticks: u32,
}

impl Lingering {
    /// For a timeout of so many nanoseconds.
    pub(crate) fn new(timeout: u64) -> Self {
        let shift = (0..u64::BITS).find(|shift| timeout >> shift < 32).unwrap_or(0);
        let ticks = u32::try_from(timeout >> shift).unwrap_or(0) + 1;
        Self { queue: VecDeque::new(), shift, ticks }
    }

    /// How many there are, with those that have ended since.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, flow: FlowHandle, now: u64) {
        self.queue.push_back((flow, self.tick(now)));
    }

    /// Whether the time of the first one has passed, if nothing has come of it.
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.queue.front().is_some_and(|&(_, at)| self.tick(now).wrapping_sub(at) > self.ticks)
    }

    /// When the time of the first one will have passed, asked at `now`; never, if there is none.
    pub(crate) fn due(&self, now: u64) -> u64 {
        let Some(&(_, at)) = self.queue.front() else { return u64::MAX };
        let left = (self.ticks + 1).saturating_sub(self.tick(now).wrapping_sub(at));
        (now >> self.shift).saturating_add(left.into()).saturating_mul(1 << self.shift)
    }

    /// Takes the first one, whether or not its time has come.
    pub(crate) fn pop(&mut self) -> Option<FlowHandle> {
        self.queue.pop_front().map(|(flow, _)| flow)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(FlowHandle) -> bool) {
        self.queue.retain(|&(flow, _)| keep(flow));
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// The lower bits are enough to tell how long ago something was.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
    fn tick(&self, moment: u64) -> u32 {
        (moment >> self.shift) as u32
    }
}
