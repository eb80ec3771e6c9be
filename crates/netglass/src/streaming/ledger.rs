//! What became of each call.

use std::fmt;

use netglass_kernel::calls::CallCounts;

/// `seen = written + waiting + filtered + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CallLedger {
    pub(super) seen: u64,
    pub(super) written: u64,
    pub(super) filtered: u64,
    pub(super) ring_full: u64,
    pub(super) malformed: u64,
    pub(super) late: u64,
    pub(super) not_followed: u64,
    pub(super) not_remembered: u64,
}

impl CallLedger {
    pub(super) fn new(counts: &CallCounts, written: u64) -> Self {
        Self {
            seen: counts.seen,
            written,
            filtered: counts.filtered,
            ring_full: counts.ring_full,
            malformed: counts.malformed,
            late: counts.late,
            not_followed: counts.not_followed,
            not_remembered: counts.not_remembered,
        }
    }
}

impl fmt::Display for CallLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, written, filtered, ring_full, malformed, .. } = self;
        let calls = if *seen == 1 { "call" } else { "calls" };
        write!(f, "{seen} {calls} = {written} written + {filtered} filtered")?;
        write!(f, " + {} lost", ring_full + malformed)?;
        let reasons = [(*ring_full, "ring full"), (*malformed, "malformed")];
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
        let ledger = CallLedger::new(&counts, 5);
        assert_eq!(ledger.to_string(), "10 calls = 5 written + 2 filtered + 3 lost (3 ring full)");
        let counts = CallCounts { seen: 1, late: 1, not_followed: 4, ..CallCounts::default() };
        assert_eq!(
            CallLedger::new(&counts, 1).to_string(),
            "1 call = 1 written + 0 filtered + 0 lost; 1 out of order; 4 children not followed"
        );
    }
}
