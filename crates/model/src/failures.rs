//! Why attempts did not become connections.

use serde::{Deserialize, Serialize};

/// Attempts that did not become a connection, by the reason that the kernel gave the program:
/// errno(3), as connect(2) returns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failures {
    /// `ECONNREFUSED`: nobody listens there.
    pub refused: u64,
    /// `ETIMEDOUT`: there was no answer.
    pub timed_out: u64,
    /// `EHOSTUNREACH`, `ENETUNREACH`: there is no way there.
    pub unreachable: u64,
    /// `ECONNRESET`: the peer reset it before it sent a byte.
    pub reset: u64,
    /// No errno: the program closed it before there was an answer.
    pub abandoned: u64,
    /// Any other errno, and those whose reason is not known.
    pub other: u64,
}

impl Failures {
    /// How many kinds there are.
    pub const KINDS: usize = 6;

    /// The names of the kinds, in the order in which they are shown.
    pub const NAMES: [&'static str; Self::KINDS] =
        ["refused", "timed_out", "unreachable", "reset", "abandoned", "other"];

    /// The count of each kind, in the order of [`Failures::NAMES`].
    #[must_use]
    pub const fn counts(&self) -> [u64; Self::KINDS] {
        let Self { refused, timed_out, unreachable, reset, abandoned, other } = *self;
        [refused, timed_out, unreachable, reset, abandoned, other]
    }

    /// The failures with these counts, in the order of [`Failures::NAMES`].
    #[must_use]
    pub const fn from_counts(counts: [u64; Self::KINDS]) -> Self {
        let [refused, timed_out, unreachable, reset, abandoned, other] = counts;
        Self { refused, timed_out, unreachable, reset, abandoned, other }
    }

    /// Each kind, by its name, with its count; those without any too.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Self::NAMES.into_iter().zip(self.counts())
    }

    /// Those of all kinds together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().into_iter().fold(0, u64::saturating_add)
    }

    /// What two ends counted of the same attempts: of each kind the larger count. Of an attempt
    /// whose reason one end knows and the other does not, the reason is known.
    #[must_use]
    pub fn unite(&self, other: &Self) -> Self {
        let mut united = self.zip_with(other, u64::max);
        united.other = 0;
        united.other = self.total().max(other.total()).saturating_sub(united.total());
        united
    }

    /// Adds `other`, kind by kind.
    pub fn merge(&mut self, other: &Self) {
        *self = self.zip_with(other, u64::saturating_add);
    }

    /// Puts the counts of each kind together with `combine`.
    #[must_use]
    pub fn zip_with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let (own, others) = (self.counts(), other.counts());
        Self::from_counts(std::array::from_fn(|kind| combine(own[kind], others[kind])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_whose_reason_one_end_knows_is_not_also_another_one() {
        let known = Failures { timed_out: 3, ..Failures::default() };
        let unknown = Failures { other: 4, ..Failures::default() };
        let united = Failures { timed_out: 3, other: 1, ..Failures::default() };
        assert_eq!(known.unite(&unknown), united);
        assert_eq!(unknown.unite(&known), united);
    }

    const EACH: Failures = Failures {
        refused: 1,
        timed_out: 2,
        unreachable: 4,
        reset: 8,
        abandoned: 16,
        other: u64::MAX - 32,
    };

    #[test]
    fn every_kind_has_its_name_and_counts_once() {
        let kinds: Vec<_> = EACH.kinds().collect();
        assert_eq!(
            kinds,
            [
                ("refused", 1),
                ("timed_out", 2),
                ("unreachable", 4),
                ("reset", 8),
                ("abandoned", 16),
                ("other", u64::MAX - 32),
            ]
        );
        assert_eq!(EACH.total(), u64::MAX - 1);
        assert_eq!(Failures::from_counts(EACH.counts()), EACH);
    }

    #[test]
    fn failures_add_up_kind_by_kind_as_far_as_a_count_goes() {
        let mut twice = EACH;
        twice.merge(&EACH);
        assert_eq!(twice.counts(), [2, 4, 8, 16, 32, u64::MAX]);
        assert_eq!(twice.total(), u64::MAX);
    }
}
