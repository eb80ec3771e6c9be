//! From a probe to a database that may be away: over a spool, on a thread of its own.

mod backoff;
mod encoding;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt::Write as _,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use netglass_model::{Flush, Ledger, Skip, SpoolUsage};

use self::{backoff::Backoff, worker::Worker};
use crate::{Database, Error, Losses, Maintenance, Record, Spool, SpoolError};

/// Opens the database and claims there what the probe writes.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Database>, Error> + Send>;

/// How many notes wait to be read at most; further ones are not told.
const MAX_NOTES: usize = 64;

/// Delivers flushes to a database that may be away, slow or full.
///
/// A flush that was submitted is on disk. A thread delivers what waits there, in order and for as
/// long as it takes; what an earlier run has left comes first. Since a database takes each flush
/// once however often it is sent, each arrives exactly once.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    spool: Spool,
    losses: Losses,
    notes: Vec<String>,
    is_full_told: bool,
    /// What was said of the spool last, until it can be read again.
    told_of_spool: Option<String>,
    end: End,
}

/// Whether the delivery is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Never,
    /// It ends once nothing waits any more, and at this moment at the latest.
    By(Instant),
    /// It has ended: whatever is still tried does not count.
    Reached,
}

impl Delivery {
    /// Opens the spool in `directory`, which takes `limit` bytes at most, for [`Delivery::start`].
    pub fn open_spool(directory: &Path, limit: u64) -> Result<Spool, SpoolError> {
        Spool::open(directory, limit, encoding::VERSION)
    }

    /// Starts the thread, with the privileges of the one that calls.
    pub fn start(spool: Spool, open: Open, maintenance: Maintenance) -> io::Result<Self> {
        let backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(30));
        Self::start_with(spool, open, maintenance, backoff)
    }

    fn start_with(
        spool: Spool,
        open: Open,
        maintenance: Maintenance,
        backoff: Backoff,
    ) -> io::Result<Self> {
        let waiting = spool.usage().flushes;
        let mut state = State {
            spool,
            losses: Losses::default(),
            notes: Vec::new(),
            is_full_told: false,
            told_of_spool: None,
            end: End::Never,
        };
        if waiting > 0 {
            state.note(format!("{waiting} flushes of earlier runs wait in the spool"));
        }
        state.count_losses();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let worker = Worker::new(Arc::clone(&shared), open, maintenance, backoff);
        thread::Builder::new().name("delivery".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared })
    }

    /// Takes a flush: when this returns it is on disk, and will be delivered. On an error it was not
    /// taken. Its sightings are those that are pending in its ledger.
    ///
    /// This waits for the disk, and never for the database.
    pub fn submit(&self, flush: Flush) -> Result<(), SpoolError> {
        let sightings = flush.ledger.pending;
        let encoded = encoding::encode(flush);
        let mut state = self.shared.state();
        let payload = encoded.map_err(|error| state.spool.failure("write to", error))?;
        let appended = state.spool.append(&payload, sightings);
        state.count_losses();
        drop(state);
        self.shared.changed.notify_all();
        appended
    }

    /// What waits.
    #[must_use]
    pub fn usage(&self) -> SpoolUsage {
        self.shared.state().spool.usage()
    }

    /// Corrects a ledger in which all that was submitted counts as stored: by what waits still, and
    /// by what was lost.
    pub fn settle(&self, ledger: &mut Ledger) {
        let state = self.shared.state();
        ledger.unstore(state.spool.sightings());
        for (reason, loss) in
            [(Skip::SpoolFull, state.losses.full), (Skip::SpoolDamaged, state.losses.damaged)]
        {
            ledger.lose(reason, loss.sightings);
            // The ledger of the run that saw it says that it waits.
            ledger.skip(reason, loss.inherited);
        }
    }

    /// What the user should know and was not told yet.
    #[must_use]
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().notes)
    }

    /// Delivers what waits, for `patience` at most; what is left then waits for the next run.
    /// Returns what that is.
    pub fn finish(&self, patience: Duration) -> SpoolUsage {
        let by = Instant::now() + patience;
        let mut state = self.shared.state();
        if state.end == End::Never {
            state.end = End::By(by);
            self.shared.changed.notify_all();
        }
        while state.end != End::Reached {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.end = End::Reached;
        state.spool.release();
        state.count_losses();
        self.shared.changed.notify_all();
        state.spool.usage()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.shared.state().end = End::Reached;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flush that is to be delivered next, once there is one; none at the end.
    fn next(&self) -> Option<Record> {
        let mut state = self.state();
        loop {
            if state.has_ended() {
                return None;
            }
            let oldest = state.spool.oldest();
            state.count_losses();
            match oldest {
                Ok(Some(record)) => {
                    state.told_of_spool = None;
                    return Some(record);
                }
                Ok(None) if state.end != End::Never => return None,
                // Until another one is submitted.
                Ok(None) => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Err(error) => {
                    state.note_of_spool(&error);
                    drop(state);
                    self.pause(READ_AGAIN);
                    state = self.state();
                }
            }
        }
    }

    /// Waits, but not beyond the end. That it is to come ends the wait, and is returned.
    fn pause(&self, wait: Duration) -> bool {
        let state = self.state();
        let before = state.end;
        let wait = match before {
            End::By(by) => wait.min(by.saturating_duration_since(Instant::now())),
            End::Never | End::Reached => wait,
        };
        // Whoever submits something need not be heard.
        let waited = self.changed.wait_timeout_while(state, wait, |state| state.end == before);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.end != before
    }
}

/// How long to wait before a spool that cannot be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(30);

impl State {
    fn has_ended(&self) -> bool {
        match self.end {
            End::Never => false,
            End::By(by) => Instant::now() >= by,
            End::Reached => true,
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What fails again and again is told once.
    fn note_of_spool(&mut self, error: &SpoolError) {
        let note = format!("{error}; what waits there is tried again");
        if self.told_of_spool.as_ref() != Some(&note) {
            self.note(note.clone());
            self.told_of_spool = Some(note);
        }
    }

    /// The database has taken what came next.
    fn delivered(&mut self) {
        if self.end == End::Reached {
            // The ledger was printed. It comes again, and is not taken twice.
            return;
        }
        if let Err(error) = self.spool.acknowledge() {
            self.note_of_spool(&error);
        }
        self.count_losses();
        if self.spool.usage().flushes == 0 {
            self.is_full_told = false;
        }
    }

    /// What came next is no flush.
    fn discard(&mut self, reason: &io::Error) {
        self.note(format!("a flush in the spool cannot be understood, and is left out: {reason}"));
        if let Err(error) = self.spool.discard() {
            self.note_of_spool(&error);
        }
        self.count_losses();
    }

    fn count_losses(&mut self) {
        let Losses { full, damaged } = self.spool.take_losses();
        self.losses.full += full;
        self.losses.damaged += damaged;
        if full.records > 0 && !std::mem::replace(&mut self.is_full_told, true) {
            self.note(
                "the spool is full: the oldest of what waits makes way, and is skipped; raise \
                 --spool-limit"
                    .to_owned(),
            );
        }
        if damaged.records > 0 || damaged.bytes > 0 {
            let mut note = format!("the spool was damaged: {} bytes", damaged.bytes);
            if damaged.records > 0 {
                let sightings = damaged.sightings + damaged.inherited;
                // Writing to a String cannot fail.
                let _ = write!(note, " of {} flushes with {sightings} sightings", damaged.records);
            }
            self.note(format!("{note} could not be read again, and are skipped"));
        }
    }
}
