//! What became of each call.

use std::fmt;

use netglass_kernel::calls::{CallCounts, SumCounts};

/// `seen = written + added up + waiting + filtered + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CallLedger {
    pub(super) seen: u64,
    /// None where calls are but added up.
    pub(super) written: Option<u64>,
    /// None where they never are.
    pub(super) added_up: Option<u64>,
    pub(super) filtered: u64,
    pub(super) ring_full: u64,
    pub(super) sums_full: u64,
    pub(super) malformed: u64,
    pub(super) late: u64,
    pub(super) not_followed: u64,
    pub(super) not_remembered: u64,
}

impl CallLedger {
    /// Of calls that are written, and added up where that is asked for.
    pub(super) fn new(counts: &CallCounts, written: u64, adds_up: bool) -> Self {
        Self {
            seen: counts.seen,
            written: Some(written),
            added_up: adds_up.then_some(counts.added_up),
            filtered: counts.filtered,
            ring_full: counts.ring_full,
            sums_full: counts.sums_full,
            malformed: counts.malformed,
            late: counts.late,
            not_followed: counts.not_followed,
            not_remembered: counts.not_remembered,
        }
    }

    /// Of calls that are but added up, of which `full` found no room after they were.
    pub(super) fn of_sums(counts: &SumCounts, full: u64) -> Self {
        Self {
            seen: counts.seen,
            written: None,
            added_up: Some(counts.collected.saturating_sub(full)),
            filtered: counts.filtered,
            ring_full: 0,
            sums_full: counts.full.saturating_add(full),
            malformed: counts.malformed,
            late: 0,
            not_followed: counts.not_followed,
            not_remembered: counts.not_remembered,
        }
    }
}

impl fmt::Display for CallLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, filtered, ring_full, sums_full, malformed, .. } = self;
        let calls = if *seen == 1 { "call" } else { "calls" };
        write!(f, "{seen} {calls} = ")?;
        let became = [(self.written, "written"), (self.added_up, "added up")];
        for (count, what) in became.into_iter().filter_map(|(count, what)| Some((count?, what))) {
            write!(f, "{count} {what} + ")?;
        }
        write!(f, "{filtered} filtered + {} lost", ring_full + sums_full + malformed)?;
        let reasons =
            [(*ring_full, "ring full"), (*sums_full, "sums full"), (*malformed, "malformed")];
        let mut before = " (";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before}{count} {reason}")?;
            before = ", ";
        }
        if before == ", " {
            f.write_str(")")?;
        }
        if self.late > 0 {
            write!(f, "; {} out of order", self.late)?;
        }
        if self.not_remembered > 0 {
            write!(f, "; {} operations of io_uring not followed", self.not_remembered)?;
        }
        if self.not_followed > 0 {
            write!(f, "; {} children not followed", self.not_followed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_accounted_for() {
        let counts = CallCounts { seen: 10, filtered: 2, ring_full: 3, ..CallCounts::default() };
        let ledger = CallLedger::new(&counts, 5, false);
        assert_eq!(ledger.to_string(), "10 calls = 5 written + 2 filtered + 3 lost (3 ring full)");
        let counts = CallCounts { seen: 1, late: 1, not_followed: 4, ..CallCounts::default() };
        assert_eq!(
            CallLedger::new(&counts, 1, false).to_string(),
            "1 call = 1 written + 0 filtered + 0 lost; 1 out of order; 4 children not followed"
        );
        let counts = CallCounts { seen: 9, added_up: 4, sums_full: 2, ..CallCounts::default() };
        assert_eq!(
            CallLedger::new(&counts, 3, true).to_string(),
            "9 calls = 3 written + 4 added up + 0 filtered + 2 lost (2 sums full)"
        );
        let counts = SumCounts { seen: 9, collected: 8, filtered: 1, ..SumCounts::default() };
        assert_eq!(
            CallLedger::of_sums(&counts, 3).to_string(),
            "9 calls = 5 added up + 1 filtered + 3 lost (3 sums full)"
        );
    }
}
