//! Where the flow of a key is.

use prefetch_index::prefetch_index;

/// Flows by the hash of their keys: open addressing with linear probing.
///
/// A slot is the flow and the 32 bits of its hash that its place comes from. So neither growing nor
/// removing looks at a flow, and a flow is seldom looked at in vain. At most three quarters of the
/// slots are taken, which makes 22 bytes for a flow, or 32 while it grows.
#[derive(Debug)]
pub(crate) struct Index {
    slots: Vec<u64>,
    /// How many slots there are is two to the power of this.
    bits: u32,
    taken: usize,
}

const FREE: u64 = 0;
const SMALLEST: usize = 1 << 10;

impl Index {
    pub(crate) fn new() -> Self {
        Self { slots: vec![FREE; SMALLEST], bits: SMALLEST.trailing_zeros(), taken: 0 }
    }

    /// Has the place where a flow most likely is be fetched from memory.
    #[inline]
    pub(crate) fn fetch(&self, tag: u32) {
        prefetch_index(&self.slots, self.home(tag));
    }

    /// The first flow whose hash is `tag`: seldom another one than that of the key.
    #[inline]
    pub(crate) fn candidate(&self, tag: u32) -> Option<u32> {
        self.find(tag, |_| true)
    }

    /// The flow whose hash is `tag` and for which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = self.home(tag);
        loop {
            let slot = self.slots[place];
            if slot == FREE {
                return None;
            }
            let flow = flow_of(slot);
            if tag_of(slot) == tag && is_it(flow) {
                return Some(flow);
            }
            place = self.after(place);
        }
    }

    /// Adds a flow that is not there. `flow` is less than `u32::MAX`.
    pub(crate) fn insert(&mut self, tag: u32, flow: u32) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.taken += 1;
        self.place(u64::from(tag) << 32 | (u64::from(flow) + 1));
    }

    /// Removes a flow that is there.
    pub(crate) fn remove(&mut self, tag: u32, flow: u32) {
        let mut hole = self.home(tag);
        while flow_of(self.slots[hole]) != flow {
            if self.slots[hole] == FREE {
                return;
            }
            hole = self.after(hole);
        }
        self.taken -= 1;
        // What comes after and would be found no more beyond a free slot moves up.
        let mut place = hole;
        loop {
            place = self.after(place);
            let slot = self.slots[place];
            if slot == FREE {
                break;
            }
            let home = self.home(tag_of(slot));
            let mask = self.slots.len() - 1;
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = place;
            }
        }
        self.slots[hole] = FREE;
    }

    fn grow(&mut self) {
        let grown = vec![FREE; self.slots.len() * 2];
        self.bits += 1;
        for slot in std::mem::replace(&mut self.slots, grown) {
            if slot != FREE {
                self.place(slot);
            }
        }
    }

    fn place(&mut self, slot: u64) {
        let mut place = self.home(tag_of(slot));
        while self.slots[place] != FREE {
            place = self.after(place);
        }
        self.slots[place] = slot;
    }

    /// The upper bits of the hash, so that growing goes through both tables in the same order.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        (u64::from(tag) << self.bits >> 32) as usize
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

#[inline]
fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of the slot is wanted")]
fn flow_of(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_what_was_added_and_not_removed(
            // Few hashes, at the beginning and the end, so that they collide and wrap around.
            steps in prop::collection::vec((any::<bool>(), 0_u32..300, -3_i32..3), 0..600),
        ) {
            let mut index = Index::new();
            let mut known: HashMap<u32, u32> = HashMap::new();
            for (add, flow, tag) in steps {
                let tag = tag.cast_unsigned();
                if add && !known.contains_key(&flow) {
                    index.insert(tag, flow);
                    known.insert(flow, tag);
                } else if !add && let Some(tag) = known.remove(&flow) {
                    index.remove(tag, flow);
                }
                prop_assert_eq!(index.find(tag, |it| !known.contains_key(&it)), None);
                prop_assert_eq!(index.taken, known.len());
            }
            for (&flow, &tag) in &known {
                prop_assert_eq!(index.find(tag, |it| it == flow), Some(flow));
            }
        }
    }

    #[test]
    fn it_finds_everything_after_it_has_grown() {
        let mut index = Index::new();
        let tag = |flow: u32| flow.wrapping_mul(0x9E37_79B9);
        for flow in 0..100_000 {
            index.insert(tag(flow), flow);
        }
        for flow in 0..100_000 {
            assert_eq!(index.candidate(tag(flow)), Some(flow));
        }
        assert!(index.slots.len() * 8 <= 22 * 100_000);
    }
}
