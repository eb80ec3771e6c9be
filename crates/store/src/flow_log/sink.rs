//! What a place is where flow records can be written.

use std::{io, time::Duration};

use netglass_model::FlowRecord;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

/// Flow records that are written together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowBatch {
    /// The run of the capture that made it (UUID version 7).
    pub run: Uuid,
    /// Its number within the run, from 1 on. With the run it names the batch: a store that knows
    /// which it has taken takes each once, however often it is sent.
    pub sequence: u64,
    /// The records.
    pub records: Vec<FlowRecord>,
    /// The same as JSON Lines, where whoever brought them has made those already.
    #[serde(skip)]
    pub json: Option<Vec<u8>>,
}

impl FlowBatch {
    /// A batch of which only the records are there.
    #[must_use]
    pub const fn new(run: Uuid, sequence: u64, records: Vec<FlowRecord>) -> Self {
        Self { run, sequence, records, json: None }
    }
}

/// A place where flow records can be written.
pub trait FlowSink: Send {
    /// Finds out within `patience` whether anything can be written, and makes what is missing for it.
    /// For whoever wants to know that at the start; without, the first write does it.
    fn prepare(&mut self, patience: Duration) -> Result<(), SinkError> {
        let _ = patience;
        Ok(())
    }

    /// Writes all of a batch. When this returns, its records are stored, but for those that
    /// [`FlowSink::unfinished`] and [`FlowSink::take_refusals`] count. On an error none of them is, as far as one can know; the same
    /// batch may be given again.
    ///
    /// This may take as long as a server that doesn't answer does, but not for ever.
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError>;

    /// Whether it writes JSON Lines, so that it has less to do where a batch brings them.
    fn takes_json(&self) -> bool {
        false
    }

    /// How many records were taken which are lost if this process ends now: those of a file which
    /// cannot be read before it is complete.
    fn unfinished(&self) -> u64 {
        0
    }

    /// The records that were not taken since this was asked last, of batches whose write succeeded or
    /// will: they are lost, and nobody else counts them.
    fn take_refusals(&mut self) -> Refusals {
        Refusals::default()
    }

    /// Does what is to be done from time to time although nothing is written, as completing a file
    /// after the time that it may take.
    fn tick(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Completes what is unfinished, and has it survive a loss of power. Nothing is written after
    /// that. It may be called again after an error.
    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Records that a store did not take, and never will, although it took others of their batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many.
    pub records: u64,
    /// Why, of the first one.
    pub reason: String,
}

#[cfg(feature = "bigquery")]
impl Refusals {
    pub(super) fn add(&mut self, reason: &str) {
        if self.records == 0 {
            reason.clone_into(&mut self.reason);
        }
        self.records += 1;
    }
}

/// What can go wrong with a sink: what was being done, on what, why it failed, and what to try. It
/// never holds a password, a key or a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// It does not answer, breaks off, or asks for patience. To try again soon may help.
    #[error("cannot {action} {target}: {reason}")]
    Away {
        /// What was being done.
        action: &'static str,
        /// On what.
        target: String,
        /// Why it failed, and what to try.
        reason: String,
    },

    /// There is no space left for it. What was written of the batch was taken away again.
    #[error("cannot {action} {target}: no space is left; make room, or name another place")]
    Full {
        /// What was being done.
        action: &'static str,
        /// On what.
        target: String,
    },

    /// Nobody reads any more what is written there, nor ever will.
    #[error("cannot {action} {target}: whoever read it has ended")]
    Closed {
        /// What was being done.
        action: &'static str,
        /// On what.
        target: String,
    },

    /// It does not let us, as it is set up: somebody has to change something. To try again soon will
    /// not help.
    #[error("cannot {action} {target}: {reason}")]
    Refused {
        /// What was being done.
        action: &'static str,
        /// On what.
        target: String,
        /// Why it failed, and what to try.
        reason: String,
    },

    /// A database did not take it.
    #[error(transparent)]
    Database(#[from] Error),

    /// It will never take this batch, whereas it may take others.
    #[error("cannot {action} {target}: {reason}")]
    Rejected {
        /// What was being done.
        action: &'static str,
        /// On what.
        target: String,
        /// Why it failed.
        reason: String,
    },
}

impl SinkError {
    /// Says of a failed system call what was being done on what.
    pub(super) fn from_io(
        action: &'static str,
        target: &str,
    ) -> impl Fn(io::Error) -> Self + use<> {
        let target = target.to_owned();
        move |error| {
            let target = target.clone();
            match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Self::Full { action, target },
                io::ErrorKind::BrokenPipe => Self::Closed { action, target },
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::ReadOnlyFilesystem => {
                    let reason = format!("{error}; check the path and its permissions");
                    Self::Refused { action, target, reason }
                }
                _ => Self::Away { action, target, reason: error.to_string() },
            }
        }
    }

    /// Whether trying again soon will not help.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Database(error) => error.is_lasting(),
            error => matches!(error, Self::Full { .. } | Self::Refused { .. }),
        }
    }

    /// Whether trying again will never help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Rejected { .. })
    }
}
