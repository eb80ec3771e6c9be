//! Which flow ends next.

use std::{collections::VecDeque, mem};

use crate::flows::FlowHandle;

/// Flows by when they may end.
///
/// A timer wheel that nobody turns for a packet: a flow is in the slot of the moment at which it would
/// have ended when it was put there. When the slot's time has passed, those of its flows that had
/// packets since are put where they belong by then. So a flow costs something once in a timeout and
/// not for each packet, and what has ended is found without looking at what has not.
///
/// What ends for another reason stays, and is known not to go on when its slot is emptied: to take it
/// out would mean to look for it.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// A slot's length is two to the power of this, in nanoseconds.
    shift: u32,
    slots: Vec<VecDeque<FlowHandle>>,
    /// How many flows there are in all of them, with those that have ended.
    len: usize,
    /// The first tick whose slot has not been emptied. A tick is a moment divided by a slot's length.
    current: u64,
    /// No flow is in a slot of a tick before this one.
    earliest: u64,
}

/// More than the ticks of any timeout, which are at most half of them.
const SLOTS: u16 = 1024;

impl Wheel {
    /// One for timeouts of at most `timeout` nanoseconds.
    pub(crate) fn new(timeout: u64) -> Self {
        // The longest timeout takes more than a quarter of the slots, and at most half of them.
        let ticks = u64::from(SLOTS / 2);
        let shift = (0..u64::BITS).find(|shift| timeout >> shift < ticks).unwrap_or(0);
        let slots = vec![VecDeque::new(); SLOTS.into()];
        Self { shift, slots, len: 0, current: 0, earliest: 0 }
    }

    /// How many flows are in it, with those that have ended.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// When the time of the next slot will have passed.
    pub(crate) fn due(&self) -> u64 {
        self.current.saturating_add(1).saturating_mul(1 << self.shift)
    }

    /// Puts a flow where it belongs if it ends at `ends_at`.
    pub(crate) fn put(&mut self, flow: FlowHandle, ends_at: u64) {
        let tick = self.tick(ends_at).max(self.current);
        self.earliest = self.earliest.min(tick);
        self.len += 1;
        self.slots[slot(tick)].push_back(flow);
    }

    /// Takes all flows of a slot whose time has passed. None if there is no such slot any more.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<VecDeque<FlowHandle>> {
        let until = self.tick(now);
        // After a leap in time, once around has been everywhere.
        self.current = self.current.max(until.saturating_sub(u64::from(SLOTS)));
        while self.current < until {
            let flows = mem::take(&mut self.slots[slot(self.current)]);
            self.current += 1;
            self.earliest = self.earliest.max(self.current);
            if !flows.is_empty() {
                self.len -= flows.len();
                return Some(flows);
            }
        }
        None
    }

    /// Takes the first flow from the earliest slot that has any.
    pub(crate) fn take_earliest(&mut self) -> Option<FlowHandle> {
        if self.len == 0 {
            return None;
        }
        loop {
            if let Some(flow) = self.slots[slot(self.earliest)].pop_front() {
                self.len -= 1;
                return Some(flow);
            }
            // What has room for many may be long before its time passes.
            self.slots[slot(self.earliest)] = VecDeque::new();
            self.earliest += 1;
        }
    }

    /// The flow that [`Self::take_earliest`] gives when it was called `after` times, if that is in the
    /// same slot as the next one.
    pub(crate) fn upcoming(&self, after: usize) -> Option<FlowHandle> {
        self.slots[slot(self.earliest)].get(after).copied()
    }

    /// Whether a moment is after the time of the slot from which a flow was taken last as the earliest.
    pub(crate) fn is_later(&self, moment: u64) -> bool {
        self.tick(moment) > self.earliest
    }

    /// Forgets those for which `goes_on` is false.
    pub(crate) fn retain(&mut self, goes_on: impl Fn(FlowHandle) -> bool) {
        for flows in &mut self.slots {
            flows.retain(|&flow| goes_on(flow));
            flows.shrink_to_fit();
        }
        self.len = self.slots.iter().map(VecDeque::len).sum();
    }

    #[inline]
    fn tick(&self, moment: u64) -> u64 {
        moment >> self.shift
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is less than the number of slots"
)]
fn slot(tick: u64) -> usize {
    (tick % u64::from(SLOTS)) as usize
}
