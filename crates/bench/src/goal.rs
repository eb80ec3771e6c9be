//! What is hoped for, and whether it was reached.

use std::fmt::{self, Display, Formatter};

/// A goal, judged.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    aim: String,
    /// Whether it is met, and by what; nothing if that was not measured.
    reached: Option<(bool, String)>,
}

impl Goal {
    /// A goal and what came of it.
    pub(crate) fn new(aim: impl Into<String>, reached: Option<(bool, String)>) -> Self {
        Self { aim: aim.into(), reached }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let aim = &self.aim;
        match &self.reached {
            Some((true, value)) => write!(f, "{aim}: {value}, met"),
            Some((false, value)) => write!(f, "{aim}: {value}, MISSED"),
            None => write!(f, "{aim}: not measured, MISSED"),
        }
    }
}

/// Bytes in megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_what_was_reached() {
        let judge = |reached| Goal::new("a ≤ 2", reached).to_string();
        assert_eq!(judge(Some((true, "1".to_owned()))), "a ≤ 2: 1, met");
        assert_eq!(judge(Some((false, "3".to_owned()))), "a ≤ 2: 3, MISSED");
        assert_eq!(judge(None), "a ≤ 2: not measured, MISSED");
    }
}
