//! What a probe hands over, and how it fares.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{HostId, Ledger, Observations, Timestamp};

/// One run of a probe: another one after each start (UUID version 7, RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeId(pub Uuid);

impl ProbeId {
    /// One that no other run of any probe has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A probe, for as long as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Which run of it.
    pub id: ProbeId,
    /// Since when the host runs: `/proc/sys/kernel/random/boot_id`. Tells hosts apart that share
    /// machine-id and name, as two copies of one disk do. Empty where it cannot be read.
    pub boot_id: String,
    /// The version of the program.
    pub version: String,
    /// When it was started.
    pub started: Timestamp,
}

/// What waits on a probe's disk for the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolUsage {
    /// Flushes that wait.
    pub flushes: u64,
    /// The bytes that they take.
    pub bytes: u64,
    /// How many bytes there may be; 0 where there is no spool.
    pub limit: u64,
}

/// What a probe saw since the flush before, numbered so that a database takes it once however
/// often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    /// Whose it is.
    pub probe: Probe,
    /// Its number within the probe, from 1 on.
    pub sequence: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Whether the probe makes no further one.
    pub last: bool,
    /// What became of everything that the probe has seen, when it was made.
    pub ledger: Ledger,
    /// What waited before it.
    pub spool: SpoolUsage,
    /// What was seen.
    pub observations: Observations,
}

/// What a database knows of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Where it runs.
    pub host: HostId,
    /// Which one it is.
    pub probe: Probe,
    /// When its first flush was made.
    pub first_flush: Timestamp,
    /// When the last one that arrived was made.
    pub last_flush: Timestamp,
    /// The number of that one.
    pub sequence: u64,
    /// Whether it was the last one of all.
    pub ended: bool,
    /// What waited on the host then.
    pub spool: SpoolUsage,
    /// What had become of everything that it had seen then.
    pub ledger: Ledger,
}
