//! Numbers that look random and are the same in each run.

/// A sequence of `SplitMix64`.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below a u32")]
        {
            (self.next() % u64::from(bound.max(1))) as u32
        }
    }

    /// A number of one of the ranges, each as likely as its weight is of all weights.
    pub(crate) fn choose(&mut self, ranges: &[WeightedRange]) -> u32 {
        let mut left = self.below(ranges.iter().map(|range| range.weight).sum());
        for range in ranges {
            if left < range.weight {
                return range.from + self.below(range.to - range.from + 1);
            }
            left -= range.weight;
        }
        0
    }
}

/// Numbers from `from` to `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightedRange {
    pub(crate) weight: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// Mixes the bits of a number so that those of near ones have nothing in common.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// An order of the numbers below a count that looks random and takes no memory: a network of
/// Feistel over the next power of four, walked until it comes below the count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shuffle {
    count: u64,
    half: u32,
}

impl Shuffle {
    const ROUNDS: u64 = 4;

    pub(crate) fn new(count: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2).max(1) }
    }

    /// The number at a place; both are below the count.
    pub(crate) fn at(self, place: u64) -> u64 {
        let mut value = self.step(place);
        while value >= self.count {
            value = self.step(value);
        }
        value
    }

    fn step(self, value: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for round in 0..Self::ROUNDS {
            (left, right) = (right, left ^ (mix(right + (round << 40)) & mask));
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_has_each_number_once_and_not_in_order() {
        for count in [1, 2, 5, 1000, 4096, 4097] {
            let shuffle = Shuffle::new(count);
            let shuffled: Vec<u64> = (0..count).map(|place| shuffle.at(place)).collect();
            assert!(count < 1000 || shuffled.iter().zip(0..).any(|(at, place)| *at != place));
            let mut sorted = shuffled;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn ranges_are_chosen_by_their_weight() {
        let ranges = [
            WeightedRange { weight: 9, from: 1, to: 1 },
            WeightedRange { weight: 1, from: 10, to: 19 },
        ];
        let mut random = Random::new(1);
        let chosen: Vec<u32> = (0..10_000).map(|_| random.choose(&ranges)).collect();
        let ones = chosen.iter().filter(|number| **number == 1).count();
        assert!((8_800..9_200).contains(&ones), "{ones}");
        assert!(chosen.iter().all(|number| *number == 1 || (10..=19).contains(number)));
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let of = |seed| Random::new(seed).next();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
