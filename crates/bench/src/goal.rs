//! What a contestant is hoped to reach.

use crate::race::Outcome;

/// A goal of a contestant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times the wall time of the reference.
    Wall { contestant: &'static str, reference: &'static str, at_most: f64 },
    /// Less peak memory than so many bytes.
    PeakMemory { contestant: &'static str, below: u64 },
}

impl Goal {
    /// The goal and whether it is met, in one line.
    pub(crate) fn judge(&self, results: &[Outcome]) -> String {
        let find = |name| results.iter().find(|result| result.name == name);
        match *self {
            Self::Wall { contestant, reference, at_most } => {
                let ratio = find(contestant)
                    .zip(find(reference))
                    .map(|(own, other)| own.wall.as_secs_f64() / other.wall.as_secs_f64());
                let verdict = verdict(ratio.map(|ratio| (ratio <= at_most, format!("{ratio:.3}"))));
                format!("{contestant} ≤ {at_most} × the wall time of {reference}: {verdict}")
            }
            Self::PeakMemory { contestant, below } => {
                let bytes = find(contestant).map(|own| own.peak_memory);
                let verdict = verdict(bytes.map(|bytes| (bytes < below, megabytes(bytes))));
                format!("{contestant} < {} of memory: {verdict}", megabytes(below))
            }
        }
    }
}

/// Bytes in megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn verdict(reached: Option<(bool, String)>) -> String {
    match reached {
        Some((true, value)) => format!("{value}, met"),
        Some((false, value)) => format!("{value}, MISSED"),
        None => "not measured, MISSED".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(name: &'static str, milliseconds: u64, peak_memory: u64) -> Outcome {
        let wall = Duration::from_millis(milliseconds);
        Outcome { name, wall, cpu: wall, peak_memory }
    }

    #[test]
    fn a_goal_says_what_was_reached() {
        let goal = Goal::Wall { contestant: "a", reference: "b", at_most: 0.2 };
        let judge = |a| goal.judge(&[outcome("a", a, 1), outcome("b", 100, 1)]);
        assert_eq!(judge(20), "a ≤ 0.2 × the wall time of b: 0.200, met");
        assert_eq!(judge(21), "a ≤ 0.2 × the wall time of b: 0.210, MISSED");
    }

    #[test]
    fn memory_has_to_be_below_its_goal() {
        let goal = Goal::PeakMemory { contestant: "a", below: 64_000_000 };
        let judge = |memory| goal.judge(&[outcome("a", 1, memory)]);
        assert_eq!(judge(63_900_000), "a < 64.0 MB of memory: 63.9 MB, met");
        assert_eq!(judge(64_000_000), "a < 64.0 MB of memory: 64.0 MB, MISSED");
    }

    #[test]
    fn a_goal_of_a_contestant_that_did_not_run_is_missed() {
        let goal = Goal::Wall { contestant: "a", reference: "b", at_most: 0.2 };
        let judged = goal.judge(&[outcome("b", 1, 1)]);
        assert_eq!(judged, "a ≤ 0.2 × the wall time of b: not measured, MISSED");
    }
}
