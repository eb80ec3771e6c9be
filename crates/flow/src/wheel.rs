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
///
/// The flows of a slot are linked in several chains, as where the next one of a chain is, is only known
/// when the one before it has come from memory.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// A slot's length is two to the power of this, in nanoseconds.
    shift: u32,
    slots: Vec<Slot>,
    /// The first tick whose slot has not been emptied. A tick is a moment divided by a slot's length.
    current: u64,
    /// No flow is in a slot of a tick before this one.
    earliest: u64,
    /// The chain from which the next flow is taken if one has to make way.
    turn: usize,
}

/// More than the ticks of any timeout, which are at most half of them.
const SLOTS: u16 = 1024;

/// How many chains a slot has.
pub(crate) const CHAINS: usize = 8;

/// For each chain the first and the last of its flows.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Slot([Links; CHAINS]);

const EMPTY: Slot = Slot([Links { previous: NONE, next: NONE }; CHAINS]);

impl Slot {
    /// The ends of the chain that a flow is in.
    fn chain(&mut self, place: u32) -> &mut Links {
        &mut self.0[place as usize % CHAINS]
    }

    fn firsts(&self) -> [u32; CHAINS] {
        self.0.map(|chain| chain.next)
    }
}

impl Wheel {
    /// One for timeouts of at most `timeout` nanoseconds.
    pub(crate) fn new(timeout: u64) -> Self {
        // The longest timeout takes more than a quarter of the slots, and at most half of them.
        let ticks = u64::from(SLOTS / 2);
        let shift = (0..u64::BITS).find(|shift| timeout >> shift < ticks).unwrap_or(0);
        Self { shift, slots: vec![EMPTY; SLOTS.into()], current: 0, earliest: 0, turn: 0 }
    }

    /// When the time of the next slot will have passed.
    pub(crate) fn due(&self) -> u64 {
        self.current.saturating_add(1).saturating_mul(1 << self.shift)
    }

    /// Puts a flow where it belongs if it ends at `ends_at`.
    pub(crate) fn link(&mut self, flows: &mut Flows, place: u32, ends_at: u64) {
        let tick = self.tick(ends_at).max(self.current);
        self.earliest = self.earliest.min(tick);
        let slot = slot(tick);
        let links = self.slots[usize::from(slot)].chain(place);
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
        let ends = self.slots[usize::from(slot)].chain(place);
        if links.previous == NONE {
            ends.next = links.next;
        } else {
            flows.at_mut(links.previous).links.next = links.next;
        }
        if links.next == NONE {
            ends.previous = links.previous;
        } else {
            flows.at_mut(links.next).links.previous = links.previous;
        }
    }

    /// Takes the flows of a slot whose time has passed: the first one of each chain, which is linked to
    /// the others. None if there is no such slot any more.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<[u32; CHAINS]> {
        let until = self.tick(now);
        // After a leap in time, once around has been everywhere.
        self.current = self.current.max(until.saturating_sub(u64::from(SLOTS)));
        while self.current < until {
            let slot = std::mem::replace(&mut self.slots[usize::from(slot(self.current))], EMPTY);
            self.current += 1;
            self.earliest = self.earliest.max(self.current);
            let firsts = slot.firsts();
            if firsts != [NONE; CHAINS] {
                return Some(firsts);
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
        let place = loop {
            let firsts = self.slots[usize::from(slot(self.earliest))].firsts();
            let mut chains = (self.turn..self.turn + CHAINS).map(|chain| chain % CHAINS);
            if let Some(chain) = chains.find(|&chain| firsts[chain] != NONE) {
                self.turn = chain + 1;
                break firsts[chain];
            }
            self.earliest += 1;
        };
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
