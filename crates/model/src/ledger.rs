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
    /// The kernel programs' table of flows had reached its bound.
    MapFull,
    /// The kernel could not lock the flow's place in that table.
    MapBusy,
    /// A socket of which the kernel programs know nothing, not even its direction: older than the
    /// probe and held by no process, or one for which the kernel had no memory.
    Untracked,
    /// A datagram of a socket without peer, taken by a call that does not ask who sent it.
    NoPeer,
    /// Counted by the kernel programs, but not found in their tables.
    Unaccounted,
    /// The database could not take it before the probe had to end.
    Database,
    /// It waited for the database on disk, and made way when the spool had reached its bound.
    SpoolFull,
    /// It waited for the database on disk, and could not be read again.
    SpoolDamaged,
}

impl Skip {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Loopback,
        Self::Filter,
        Self::Malformed,
        Self::TableFull,
        Self::MapFull,
        Self::MapBusy,
        Self::Untracked,
        Self::NoPeer,
        Self::Unaccounted,
        Self::Database,
        Self::SpoolFull,
        Self::SpoolDamaged,
    ];

    /// The name in the ledger's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Filter => "filter",
            Self::Malformed => "malformed",
            Self::TableFull => "table_full",
            Self::MapFull => "map_full",
            Self::MapBusy => "map_busy",
            Self::Untracked => "untracked",
            Self::NoPeer => "no_peer",
            Self::Unaccounted => "unaccounted",
            Self::Database => "database",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
        }
    }
}

/// What something that was stored lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Sightings without process: the kernel programs' buffer for the details of processes was full.
    ProcessBufferFull,
    /// Sightings without process: it was forgotten, since more than can be remembered came after it.
    ProcessForgotten,
    /// Processes that had ended before they were looked at: their details are those that the kernel
    /// programs kept.
    ProcessVanished,
    /// Connections whose addresses are translated, without that: a table of the probe had reached its
    /// bound.
    TranslationTableFull,
    /// Times at which connection tracking told more at once than was taken, or what could not be
    /// understood. What still exists is listed anew then.
    TranslationEventsLost,
}

impl Lack {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::ProcessBufferFull,
        Self::ProcessForgotten,
        Self::ProcessVanished,
        Self::TranslationTableFull,
        Self::TranslationEventsLost,
    ];

    /// The name in the ledger's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessBufferFull => "process_buffer_full",
            Self::ProcessForgotten => "process_forgotten",
            Self::ProcessVanished => "process_vanished",
            Self::TranslationTableFull => "translation_table_full",
            Self::TranslationEventsLost => "translation_events_lost",
        }
    }
}

/// What was seen, and what became of it: `seen = stored + spooled + pending + skipped`.
///
/// The unit is one sighting of one socket: a scan, or a look at the sockets that live, sees each
/// socket once; the end of a connection and each datagram are one sighting more. A socket that
/// lives through ten scans counts ten times, in `seen` as well as in what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Sightings of sockets.
    pub seen: u64,
    /// Those that the database has taken.
    pub stored: u64,
    /// Those that wait on disk for the database.
    pub spooled: u64,
    /// Those that wait for the next flush.
    pub pending: u64,
    /// Those that will never be stored, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// What is stored, but not whole.
    pub lacking: BTreeMap<Lack, u64>,
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

    /// Takes back that `count` of what counts as stored is: it waits on disk.
    pub fn unstore(&mut self, count: u64) {
        let count = count.min(self.stored);
        self.stored -= count;
        self.spooled += count;
    }

    /// Takes back that `count` of what counts as stored is: it is lost.
    pub fn lose(&mut self, reason: Skip, count: u64) {
        let count = count.min(self.stored);
        self.stored -= count;
        self.add_skipped(reason, count);
    }

    /// All that was skipped, for whatever reason.
    #[must_use]
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Whether everything seen is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.seen == self.stored + self.spooled + self.pending + self.skipped_total()
    }

    /// Counts what is stored but lacks something.
    pub fn lack(&mut self, what: Lack, count: u64) {
        if count > 0 {
            *self.lacking.entry(what).or_default() += count;
        }
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
        self.spooled += other.spooled;
        self.pending += other.pending;
        for (&reason, &count) in &other.skipped {
            self.add_skipped(reason, count);
        }
        for (&what, &count) in &other.lacking {
            self.lack(what, count);
        }
    }
}

/// `1200 sightings = 1000 stored + 200 skipped (150 loopback, 50 filter)`; what is stored but not
/// whole follows: `; lacking 3 process_vanished`.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sightings = if self.seen == 1 { "sighting" } else { "sightings" };
        write!(f, "{} {sightings} = {} stored", self.seen, self.stored)?;
        if self.spooled > 0 {
            write!(f, " + {} spooled", self.spooled)?;
        }
        if self.pending > 0 {
            write!(f, " + {} pending", self.pending)?;
        }
        write!(f, " + {} skipped", self.skipped_total())?;
        for (index, (reason, count)) in self.skipped.iter().enumerate() {
            write!(f, "{}{count} {}", if index == 0 { " (" } else { ", " }, reason.name())?;
        }
        if !self.skipped.is_empty() {
            f.write_str(")")?;
        }
        for (index, (what, count)) in self.lacking.iter().enumerate() {
            write!(f, "{}{count} {}", if index == 0 { "; lacking " } else { ", " }, what.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_on_disk_or_was_lost_there_is_not_stored() {
        let mut ledger = Ledger::default();
        ledger.pend(10);
        ledger.flushed();
        ledger.unstore(4);
        ledger.lose(Skip::SpoolFull, 1);
        assert!(ledger.balances());
        assert_eq!(
            ledger.to_string(),
            "10 sightings = 5 stored + 4 spooled + 1 skipped (1 spool_full)"
        );
        // Never more than there is.
        ledger.lose(Skip::SpoolDamaged, 9);
        assert!(ledger.balances() && ledger.stored == 0, "{ledger}");
    }

    #[test]
    fn every_sighting_ends_as_stored_or_skipped() {
        let mut ledger = Ledger::default();
        ledger.pend(10);
        ledger.skip(Skip::Loopback, 3);
        assert!(ledger.balances());
        assert_eq!(
            ledger.to_string(),
            "13 sightings = 0 stored + 10 pending + 3 skipped (3 loopback)"
        );

        ledger.flushed();
        ledger.pend(2);
        ledger.abandoned(Skip::Database);
        ledger.lack(Lack::ProcessVanished, 4);
        assert!(ledger.balances());
        assert_eq!(
            ledger.to_string(),
            "15 sightings = 10 stored + 5 skipped (3 loopback, 2 database); lacking 4 \
             process_vanished"
        );
    }
}
