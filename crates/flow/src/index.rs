//! Where the flow of a key is.

use prefetch_index::prefetch_index;

/// Flows by the hash of their keys: open addressing by buckets, each of which is a line of the
/// processor's cache.
///
/// Of a flow there are the 32 bits of its hash that its place comes from. So neither growing nor
/// removing looks at a flow, and a flow is seldom looked at in vain. All hashes of a bucket are compared
/// at once, without a branch for each. At most three quarters of the places are taken, which makes 22
/// bytes for a flow, or 32 while it grows.
#[derive(Debug)]
pub(crate) struct Index {
    buckets: Vec<Bucket>,
    /// How many buckets there are is two to the power of this.
    bits: u32,
    taken: usize,
}

/// What is in a bucket has no gap. For what does not go into it any more there is the next one.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; PLACES],
    flows: [u32; PLACES],
}

const PLACES: usize = 8;
/// The tag where there is no flow.
const FREE: u32 = 0;
/// Two to the power of this is the least number of buckets.
const LEAST_BITS: u32 = 7;

/// What the index knows a hash by.
#[inline]
pub(crate) fn tag(hash: u64) -> u32 {
    ((hash >> u32::BITS) as u32).max(FREE + 1)
}

impl Bucket {
    const EMPTY: Self = Self { tags: [FREE; PLACES], flows: [0; PLACES] };

    /// The places of a tag, each as a byte that is not zero, the first one being the lowest.
    #[inline]
    fn places_of(&self, tag: u32) -> u64 {
        u64::from_le_bytes(self.tags.map(|it| if it == tag { u8::MAX } else { 0 }))
    }

    /// The first place that is free.
    #[inline]
    fn first_free(&self) -> Option<usize> {
        first(self.places_of(FREE))
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.tags[PLACES - 1] != FREE
    }

    /// Frees a place, and closes the gap.
    fn free(&mut self, place: usize) {
        let last = self.first_free().unwrap_or(PLACES) - 1;
        (self.tags[place], self.flows[place]) = (self.tags[last], self.flows[last]);
        self.tags[last] = FREE;
    }
}

/// The first of some places.
#[inline]
fn first(places: u64) -> Option<usize> {
    let place = places.trailing_zeros() as usize / PLACES;
    (place < PLACES).then_some(place)
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![Bucket::EMPTY; 1 << LEAST_BITS], bits: LEAST_BITS, taken: 0 }
    }

    /// Has the place where a flow most likely is be fetched from memory.
    #[inline]
    pub(crate) fn fetch(&self, tag: u32) {
        prefetch_index(&self.buckets, self.home(tag));
    }

    /// The first flow whose hash is `tag`: seldom another one than that of the key.
    #[inline]
    pub(crate) fn candidate(&self, tag: u32) -> Option<u32> {
        self.find(tag, |_| true)
    }

    /// The flow whose hash is `tag` and for which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut number = self.home(tag);
        loop {
            let bucket = &self.buckets[number];
            let mut places = bucket.places_of(tag);
            while let Some(place) = first(places) {
                let flow = bucket.flows[place];
                if is_it(flow) {
                    return Some(flow);
                }
                places &= !(0xff << (place * PLACES));
            }
            if !bucket.is_full() {
                return None;
            }
            number = self.after(number);
        }
    }

    /// Adds a flow that is not there.
    #[expect(clippy::inline_always, reason = "it is called elsewhere, too, but not so often")]
    #[inline(always)]
    pub(crate) fn insert(&mut self, tag: u32, flow: u32) {
        if (self.taken + 1) * 4 > self.buckets.len() * PLACES * 3 {
            self.grow();
        }
        self.taken += 1;
        self.put(tag, flow);
    }

    /// Removes a flow that is there.
    pub(crate) fn remove(&mut self, tag: u32, flow: u32) {
        let mut number = self.home(tag);
        let place = loop {
            let bucket = &self.buckets[number];
            let is_it = |place: &usize| bucket.tags[*place] == tag && bucket.flows[*place] == flow;
            if let Some(place) = (0..PLACES).find(is_it) {
                break place;
            }
            if !bucket.is_full() {
                return;
            }
            number = self.after(number);
        };
        self.taken -= 1;
        self.free(number, place);
    }

    /// Frees a place. What comes after its bucket because that was full, and would be found no more beyond a
    /// free place, moves up.
    fn free(&mut self, mut number: usize, place: usize) {
        let was_full = self.buckets[number].is_full();
        self.buckets[number].free(place);
        let (mut next, mut goes_on) = (number, was_full);
        while goes_on {
            next = self.after(next);
            let bucket = self.buckets[next];
            goes_on = bucket.is_full();
            let used = bucket.first_free().unwrap_or(PLACES);
            let distance = |from: usize| next.wrapping_sub(from) & (self.buckets.len() - 1);
            let may_move =
                |place: &usize| distance(self.home(bucket.tags[*place])) >= distance(number);
            if let Some(place) = (0..used).find(may_move) {
                let free = self.buckets[number].first_free().unwrap_or(PLACES - 1);
                self.buckets[number].tags[free] = bucket.tags[place];
                self.buckets[number].flows[free] = bucket.flows[place];
                self.buckets[next].free(place);
                number = next;
            }
        }
    }

    fn grow(&mut self) {
        let grown = vec![Bucket::EMPTY; self.buckets.len() * 2];
        self.bits += 1;
        for bucket in std::mem::replace(&mut self.buckets, grown) {
            for (tag, flow) in bucket.tags.into_iter().zip(bucket.flows) {
                if tag != FREE {
                    self.put(tag, flow);
                }
            }
        }
    }

    fn put(&mut self, tag: u32, flow: u32) {
        let mut number = self.home(tag);
        loop {
            let bucket = &mut self.buckets[number];
            if let Some(place) = bucket.first_free() {
                (bucket.tags[place], bucket.flows[place]) = (tag, flow);
                return;
            }
            number = self.after(number);
        }
    }

    /// The upper bits of the hash, so that growing goes through both tables in the same order.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        (u64::from(tag) << self.bits >> u32::BITS) as usize
    }

    #[inline]
    fn after(&self, number: usize) -> usize {
        (number + 1) & (self.buckets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    /// Few, of buckets that are beside each other, at the beginning and the end, so that they collide and wrap
    /// around.
    fn few_tags() -> impl Strategy<Value = u32> {
        let home = (-3_i32..4).prop_map(|home| home.cast_unsigned() << (u32::BITS - LEAST_BITS));
        (home, 1_u32..3).prop_map(|(home, rest)| home + rest)
    }

    proptest! {
        #[test]
        fn it_finds_what_was_added_and_not_removed(
            steps in prop::collection::vec((prop::bool::weighted(0.6), 0_u32..300, few_tags()), 0..900),
        ) {
            let mut index = Index::new();
            let mut known: HashMap<u32, u32> = HashMap::new();
            for (add, flow, tag) in steps {
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
        let tag = |flow: u32| flow.wrapping_mul(0x9E37_79B9).max(1);
        for flow in 0..100_000 {
            index.insert(tag(flow), flow);
        }
        for flow in 0..100_000 {
            assert_eq!(index.candidate(tag(flow)), Some(flow));
        }
        assert!(index.buckets.len() * size_of::<Bucket>() <= 22 * 100_000);
    }
}
