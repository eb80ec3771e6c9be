//! Calls that are added up in the kernel: nothing is told of a call by itself.

use netglass_model::{CallSum, Degradation};

use super::{
    CallSelection,
    programs::{Plan, Programs},
    settings::{AddingUp, SumsBy, Telling},
};
use crate::Error;

/// What is added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumOptions {
    /// Which calls.
    pub selection: CallSelection,
    /// What sums are kept apart by.
    pub by: SumsBy,
    /// How many sums there can be between two collections; each takes about 600 bytes, twice.
    pub most: u32,
    /// How many threads' calls are found without a search, rounded up to a power of two; those of
    /// further ones take longer.
    pub threads: u32,
}

/// What was counted: calls that were seen = collected + waiting + filtered + full + malformed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SumCounts {
    /// Calls on sockets by processes that are selected.
    pub seen: u64,
    /// Those of them that are not selected by their connection or result.
    pub filtered: u64,
    /// Those that are in sums that were collected.
    pub collected: u64,
    /// Those for which there was no room for another sum.
    pub full: u64,
    /// Sums that could not be understood.
    pub malformed: u64,
    /// Children that could not be followed, because there were too many.
    pub not_followed: u64,
    /// Operations of `io_uring` that were not added up, because there were too many at a time.
    pub not_remembered: u64,
}

/// Adds up calls.
#[derive(Debug)]
pub struct CallSums {
    programs: Programs,
    collected: u64,
    malformed: u64,
}

impl CallSums {
    /// How many sums there can be by default.
    pub const MOST: u32 = 16_384;

    /// Begins to add up.
    pub fn start(options: &SumOptions) -> Result<Self, Error> {
        let telling = Telling { adding_up: AddingUp::Always(options.by), ..Telling::default() };
        let plan = Plan {
            selection: &options.selection,
            telling,
            buffer_size: 0,
            sums: options.most,
            threads: options.threads,
        };
        let programs = Programs::start(&plan)?;
        Ok(Self { programs, collected: 0, malformed: 0 })
    }

    /// What does not work as well as it could and was not told of before.
    pub fn take_degradation(&mut self) -> Option<Degradation> {
        self.programs.take_degradation()
    }

    /// Whether the process that this one forks next is followed, from its very first call on.
    pub fn follow_next_child(&self, follow: bool) -> Result<(), Error> {
        self.programs.follow_next_child(follow)
    }

    /// Tries whether the thread that calls it may collect: what [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.programs.trial()
    }

    /// Takes what was added up since the last time.
    pub fn collect(&mut self, visit: &mut dyn FnMut(&CallSum)) -> Result<(), Error> {
        let Self { programs, collected, malformed } = self;
        programs.collect_sums(&mut |sum| match sum {
            Some(sum) => {
                *collected += sum.calls();
                visit(&sum);
            }
            None => *malformed += 1,
        })
    }

    /// Stops, and takes what was added up until then.
    pub fn finish(&mut self, visit: &mut dyn FnMut(&CallSum)) -> Result<(), Error> {
        self.programs.detach();
        self.collect(visit)
    }

    /// What was counted so far.
    pub fn counts(&self) -> Result<SumCounts, Error> {
        let counts = self.programs.counts()?;
        Ok(SumCounts {
            seen: counts.seen,
            filtered: counts.filtered,
            collected: self.collected,
            full: counts.sums_full,
            malformed: self.malformed,
            not_followed: counts.not_followed,
            not_remembered: counts.not_remembered,
        })
    }
}
