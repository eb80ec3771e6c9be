//! The account of flow records, and of what became of them on their way into one log.

use std::{collections::BTreeMap, fmt};

/// Why a flow record will never be in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It waited in memory, and made way for newer ones.
    QueueFull,
    /// It waited on disk, and made way for newer ones.
    SpoolFull,
    /// It waited on disk, and could not be read again.
    SpoolDamaged,
    /// It was to wait on disk, and could not be written there.
    SpoolUnwritable,
    /// The sink will never take it.
    Rejected,
    /// The sink could not take it, or not complete what it had taken, before the end.
    Abandoned,
}

impl DropReason {
    /// The name in the ledger's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
            Self::SpoolUnwritable => "spool_unwritable",
            Self::Rejected => "rejected",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Flow records, and what became of them: `records = stored + spooled + pending + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowLedger {
    /// All that were to be logged, and those of earlier runs that were found to be lost.
    pub records: u64,
    /// Those that the sink has acknowledged.
    pub stored: u64,
    /// Those that wait on disk.
    pub spooled: u64,
    /// Those that wait in memory, or are in a file that is not complete.
    pub pending: u64,
    /// Those that will never be stored, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl FlowLedger {
    /// All that were dropped, for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether every record is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.records == self.stored + self.spooled + self.pending + self.dropped_total()
    }

    pub(super) fn drop_records(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += count;
        }
    }
}

/// `1200 flow records = 1000 stored + 200 dropped (150 queue_full, 50 rejected)`
impl fmt::Display for FlowLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = if self.records == 1 { "record" } else { "records" };
        write!(f, "{} flow {records} = {} stored", self.records, self.stored)?;
        if self.spooled > 0 {
            write!(f, " + {} spooled", self.spooled)?;
        }
        if self.pending > 0 {
            write!(f, " + {} pending", self.pending)?;
        }
        write!(f, " + {} dropped", self.dropped_total())?;
        for (index, (reason, count)) in self.dropped.iter().enumerate() {
            write!(f, "{}{count} {}", if index == 0 { " (" } else { ", " }, reason.name())?;
        }
        if self.dropped.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}
