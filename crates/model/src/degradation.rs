//! What could not be had, why, and what is used instead.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A feature that was tried and did not work.
///
/// Nothing degrades in silence: whoever falls back to the next best way reports one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Degradation {
    /// What was tried, e.g. `socket owners through the task_file iterator`.
    pub feature: String,
    /// Why it failed, as the system said it.
    pub reason: String,
    /// What is used instead and what is lost by it.
    pub consequence: String,
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.feature, self.reason, self.consequence)
    }
}
