//! The account of what was seen and what became of it.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// Why something that was seen was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Asked for: `--loopback exclude`.
    Loopback,
    /// Asked for: `--filter`.
    Filter,
    /// The record from the kernel could not be understood.
    Malformed,
    /// A table of the probe had reached its bound.
    TableFull,
    /// The database could not take it before the probe had to end.
    Database,
}

impl Skip {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Loopback, Self::Filter, Self::Malformed, Self::TableFull, Self::Database];

    /// The name in the ledger's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Filter => "filter",
            Self::Malformed => "malformed",
            Self::TableFull => "table_full",
            Self::Database => "database",
        }
    }
}

/// What was seen, and what became of it: `seen = stored + pending + skipped`.
///
/// The unit is one sighting of one socket: a socket that lives through ten scans counts ten times,
/// in `seen` as well as in what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Sightings of sockets.
    pub seen: u64,
    /// Those that the database has taken.
    pub stored: u64,
    /// Those that wait for the next flush.
    pub pending: u64,
    /// Those that will never be stored, by reason.
    pub skipped: BTreeMap<Skip, u64>,
}

impl Ledger {
    /// Counts `count` sightings that wait for the next flush.
    pub fn pend(&mut self, count: u64) {
        self.seen += count;
        self.pending += count;
    }

    /// Counts `count` sightings that will not be stored.
    pub fn skip(&mut self, reason: Skip, count: u64) {
        self.seen += count;
        self.add_skipped(reason, count);
    }

    /// Moves all that waited to what is stored: the flush went well.
    pub fn flushed(&mut self) {
        self.stored += std::mem::take(&mut self.pending);
    }

    /// Moves all that waited to what is lost: there will be no further flush.
    pub fn abandoned(&mut self, reason: Skip) {
        let lost = std::mem::take(&mut self.pending);
        self.add_skipped(reason, lost);
    }

    /// All that was skipped, for whatever reason.
    #[must_use]
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Whether everything seen is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.seen == self.stored + self.pending + self.skipped_total()
    }

    fn add_skipped(&mut self, reason: Skip, count: u64) {
        if count > 0 {
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

impl AddAssign<&Self> for Ledger {
    fn add_assign(&mut self, other: &Self) {
        self.seen += other.seen;
        self.stored += other.stored;
        self.pending += other.pending;
        for (&reason, &count) in &other.skipped {
            self.add_skipped(reason, count);
        }
    }
}

/// `1200 sockets seen = 1000 stored + 200 skipped (150 loopback, 50 filter)`.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sockets = if self.seen == 1 { "socket" } else { "sockets" };
        write!(f, "{} {sockets} seen = {} stored", self.seen, self.stored)?;
        if self.pending > 0 {
            write!(f, " + {} pending", self.pending)?;
        }
        write!(f, " + {} skipped", self.skipped_total())?;
        for (index, (reason, count)) in self.skipped.iter().enumerate() {
            write!(f, "{}{count} {}", if index == 0 { " (" } else { ", " }, reason.name())?;
        }
        if self.skipped.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sighting_ends_as_stored_or_skipped() {
        let mut ledger = Ledger::default();
        ledger.pend(10);
        ledger.skip(Skip::Loopback, 3);
        assert!(ledger.balances());
        assert_eq!(
            ledger.to_string(),
            "13 sockets seen = 0 stored + 10 pending + 3 skipped (3 loopback)"
        );

        ledger.flushed();
        ledger.pend(2);
        ledger.abandoned(Skip::Database);
        assert!(ledger.balances());
        assert_eq!(
            ledger.to_string(),
            "15 sockets seen = 10 stored + 5 skipped (3 loopback, 2 database)"
        );
    }
}
