//! Which flow ends next.

use crate::{
    flow::{Flow, Links, NONE},
    flows::Flows,
};

/// Flows by when they may end.
///
/// A timer wheel that nobody turns for a packet: a flow is in the slot of the moment at which it would
/// have ended when it was put there. When the slot's time has passed, those of its flows that had
/// packets since are put where they belong by then. So a flow costs something once in a timeout and
/// not for each packet, and what has ended is found without looking at what has not.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// A slot's length is two to the power of this, in nanoseconds.
    shift: u32,
    /// For each slot the first and the last of its flows.
    slots: Vec<Links>,
    /// The first tick whose slot has not been emptied. A tick is a moment divided by a slot's length.
    current: u64,
    /// No flow is in a slot of a tick before this one.
    earliest: u64,
}

/// More than the ticks of any timeout, which are at most half of them.
const SLOTS: u16 = 1024;

const EMPTY: Links = Links { previous: NONE, next: NONE };

impl Wheel {
    /// One for timeouts of at most `timeout` nanoseconds.
    pub(crate) fn new(timeout: u64) -> Self {
        // The longest timeout takes more than a quarter of the slots, and at most half of them.
        let ticks = u64::from(SLOTS / 2);
        let shift = (0..u64::BITS).find(|shift| timeout >> shift < ticks).unwrap_or(0);
        Self { shift, slots: vec![EMPTY; usize::from(SLOTS)], current: 0, earliest: 0 }
    }

    /// Whether a slot's time has passed.
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.tick(now) > self.current
    }

    /// Puts a flow where it belongs if it ends at `ends_at`.
    pub(crate) fn link(&mut self, flows: &mut Flows, place: u32, ends_at: u64) {
        let tick = self.tick(ends_at).max(self.current);
        self.earliest = self.earliest.min(tick);
        let slot = slot(tick);
        let links = &mut self.slots[usize::from(slot)];
        let last = std::mem::replace(&mut links.previous, place);
        if last == NONE {
            links.next = place;
        } else {
            flows.at_mut(last).links.next = place;
        }
        let flow = flows.at_mut(place);
        flow.links = Links { previous: last, next: NONE };
        flow.slot = slot;
    }

    /// Takes a flow from where it is.
    pub(crate) fn unlink(&mut self, flows: &mut Flows, place: u32) {
        let flow = flows.at(place);
        let (links, slot) = (flow.links, flow.slot);
        let ends = &mut self.slots[usize::from(slot)];
        if links.previous == NONE {
            ends.next = links.next;
        } else {
            flows.at_mut(links.previous).links.next = links.next;
        }
        if links.next == NONE {
            self.slots[usize::from(slot)].previous = links.previous;
        } else {
            flows.at_mut(links.next).links.previous = links.previous;
        }
    }

    /// Takes the flows of a slot whose time has passed: the first one, which is linked to the others.
    /// None if there is no such slot any more.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<u32> {
        let until = self.tick(now);
        // After a leap in time, once around has been everywhere.
        self.current = self.current.max(until.saturating_sub(u64::from(SLOTS)));
        while self.current < until {
            let first = std::mem::replace(&mut self.slots[usize::from(slot(self.current))], EMPTY);
            self.current += 1;
            self.earliest = self.earliest.max(self.current);
            if first.next != NONE {
                return Some(first.next);
            }
        }
        None
    }

    /// Takes the first flow from the earliest slot that has any, and says when it ends if that is not
    /// in the time of this slot any more.
    pub(crate) fn take_earliest(
        &mut self,
        flows: &mut Flows,
        ends_at: impl Fn(&Flow) -> u64,
    ) -> Option<(u32, Option<u64>)> {
        if flows.len() == 0 {
            return None;
        }
        while self.slots[usize::from(slot(self.earliest))].next == NONE {
            self.earliest += 1;
        }
        let place = self.slots[usize::from(slot(self.earliest))].next;
        self.unlink(flows, place);
        let ends_at = ends_at(flows.at(place));
        Some((place, (self.tick(ends_at) > self.earliest).then_some(ends_at)))
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
fn slot(tick: u64) -> u16 {
    (tick % u64::from(SLOTS)) as u16
}
