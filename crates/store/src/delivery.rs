//! Over a queue, on a thread of its own, to whoever may be away: from a probe to a database, and from
//! a capture to where flows are logged.

mod backoff;
mod encoding;
mod interrupt;
mod opened;
mod parcel;
mod probe;
mod queue;
mod worker;

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use netglass_model::SpoolUsage;

use self::worker::Worker;
pub(crate) use self::{
    backoff::Backoff,
    encoding::{Interner, shared_process},
    opened::Opened,
    parcel::{Failure, Parcel, Recipient, Words},
    queue::{MemoryQueue, Queue},
};
pub use self::{interrupt::Interrupt, opened::Open, probe::Delivery};
use crate::{Loss, Losses, SpoolError, delivery::queue::Next};

/// How often who waits for room looks whether the end was asked for.
const LOOK: Duration = Duration::from_millis(50);

/// How many notes wait to be read at most; further ones are not told.
const MAX_NOTES: usize = 64;

/// Brings parcels to a recipient that may be away, slow or full: on a thread of its own, in order,
/// and for as long as it takes.
#[derive(Debug)]
pub(crate) struct Carrier<P: Parcel> {
    shared: Arc<Shared<P>>,
    is_spooled: bool,
}

#[derive(Debug)]
struct Shared<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
    /// What messages call the recipient.
    recipient: String,
}

#[derive(Debug)]
struct State<P> {
    queue: Queue<P>,
    losses: Losses,
    /// What the recipient will never take.
    rejected: Loss,
    /// What the recipient has taken, and would lose.
    unfinished: u64,
    notes: Vec<String>,
    is_full_told: bool,
    /// What was said of the spool last, until it can be read again.
    told_of_spool: Option<String>,
    /// Whether what was tried last has failed.
    fails: bool,
    end: End,
}

/// What became of all that was submitted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// What waits, of what this process has submitted.
    pub(crate) waiting: u64,
    /// What the recipient has taken, and would lose.
    pub(crate) unfinished: u64,
    /// What was lost while it waited.
    pub(crate) losses: Losses,
    /// What the recipient will never take.
    pub(crate) rejected: Loss,
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

impl<P: Parcel> Carrier<P> {
    /// Starts the thread, with the privileges of the one that calls.
    pub(crate) fn start(
        queue: Queue<P>,
        to: impl Recipient<P> + 'static,
        recipient: String,
        backoff: Backoff,
    ) -> io::Result<Self> {
        let waiting = match &queue {
            Queue::Disk(spool) => spool.usage().flushes,
            Queue::Memory(_) => 0,
        };
        let is_spooled = matches!(queue, Queue::Disk(_));
        let mut state = State {
            queue,
            losses: Losses::default(),
            rejected: Loss::default(),
            unfinished: 0,
            notes: Vec::new(),
            is_full_told: false,
            told_of_spool: None,
            fails: false,
            end: End::Never,
        };
        if waiting > 0 {
            let many = P::WORDS.many;
            state.note(format!("{waiting} {many} of earlier runs wait in the spool"));
        }
        state.count_losses();
        let changed = Condvar::new();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed, recipient });
        let worker = Worker::new(Arc::clone(&shared), to, backoff);
        thread::Builder::new().name("delivery".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared, is_spooled })
    }

    /// Takes a parcel, to disk where there is a spool: then it is not lost when this process ends. On
    /// an error it was not taken.
    ///
    /// This never waits for the recipient.
    pub(crate) fn submit(&self, parcel: P) -> Result<(), SpoolError> {
        self.submit_with(parcel, MemoryQueue::append)
    }

    /// The same, but in memory nothing makes way for it.
    pub(crate) fn submit_beyond(&self, parcel: P) -> Result<(), SpoolError> {
        self.submit_with(parcel, MemoryQueue::append_beyond)
    }

    fn submit_with(
        &self,
        parcel: P,
        append: impl FnOnce(&mut MemoryQueue<P>, P, u64),
    ) -> Result<(), SpoolError> {
        let count = parcel.count();
        let appended = if self.is_spooled {
            self.spool(parcel, count)
        } else {
            let mut state = self.shared.state();
            if let Queue::Memory(queue) = &mut state.queue {
                append(queue, parcel, count);
            }
            state.count_losses();
            Ok(())
        };
        self.shared.changed.notify_all();
        appended
    }

    fn spool(&self, parcel: P, count: u64) -> Result<(), SpoolError> {
        // Others need not wait for this.
        let encoded = parcel.encode();
        let mut state = self.shared.state();
        let Queue::Disk(spool) = &mut state.queue else { return Ok(()) };
        let payload = encoded.map_err(|error| spool.failure("write to", error))?;
        let appended = spool.append(&payload, count);
        state.count_losses();
        appended
    }

    /// Waits until nothing would have to make way for so much. It does not wait for a recipient that
    /// fails, nor for longer than `interrupt` says of what may or may not be the last. Returns
    /// whether there is room, or none is waited for.
    pub(crate) fn wait_for_room(&self, count: u64, interrupt: &Interrupt, is_last: bool) -> bool {
        let is_to_wait = |state: &mut State<P>| {
            !state.fails && !state.has_ended() && !state.queue.has_room(count)
        };
        let mut state = self.shared.state();
        let (mut before, mut since) = (state.queue.parcels(), Instant::now());
        loop {
            let waited = self.shared.changed.wait_timeout_while(state, LOOK, is_to_wait);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if !timeout.timed_out() {
                return true;
            }
            let waiting = state.queue.parcels();
            let patience = interrupt.patience(is_last);
            if waiting != before || patience.is_none() {
                (before, since) = (waiting, Instant::now());
            }
            if patience.is_some_and(|patience| since.elapsed() >= patience) {
                return false;
            }
        }
    }

    /// What waits, where that is on disk.
    pub(crate) fn usage(&self) -> SpoolUsage {
        match &self.shared.state().queue {
            Queue::Disk(spool) => spool.usage(),
            Queue::Memory(_) => SpoolUsage::default(),
        }
    }

    /// How many parcels wait, those of earlier processes included.
    pub(crate) fn waiting_parcels(&self) -> u64 {
        self.shared.state().queue.parcels()
    }

    /// What became of all that was submitted.
    pub(crate) fn account(&self) -> Account {
        let state = self.shared.state();
        Account {
            waiting: match &state.queue {
                Queue::Disk(spool) => spool.sightings(),
                Queue::Memory(queue) => queue.waiting().1,
            },
            unfinished: state.unfinished,
            losses: state.losses,
            rejected: state.rejected,
        }
    }

    /// What the user should know and was not told yet.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().notes)
    }

    /// Delivers what waits, for `patience` at most; what is left on disk then waits for the next run.
    /// Returns what that is.
    pub(crate) fn finish(&self, patience: Duration) -> SpoolUsage {
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
        state.queue.release();
        state.count_losses();
        drop(state);
        self.shared.changed.notify_all();
        self.usage()
    }
}

impl<P: Parcel> Drop for Carrier<P> {
    fn drop(&mut self) {
        self.shared.state().end = End::Reached;
        self.shared.changed.notify_all();
    }
}

/// What the thread is to do next.
enum Task<P> {
    Deliver(Next<P>),
    Tend,
    End,
}

impl<P: Parcel> Shared<P> {
    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done next, once there is something. To tend the recipient is, if nothing else
    /// is for so long.
    fn next(&self, interval: Option<Duration>) -> Task<P> {
        let mut state = self.state();
        loop {
            if state.has_ended() {
                return Task::End;
            }
            let oldest = state.queue.oldest();
            state.count_losses();
            match oldest {
                Ok(Some(next)) => {
                    state.told_of_spool = None;
                    return Task::Deliver(next);
                }
                Ok(None) if state.end != End::Never => return Task::End,
                // Until another one is submitted.
                Ok(None) => match interval {
                    None => {
                        let waited = self.changed.wait(state);
                        state = waited.unwrap_or_else(PoisonError::into_inner);
                    }
                    Some(interval) => {
                        let waited = self.changed.wait_timeout(state, interval);
                        let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                        if waited.timed_out() {
                            return Task::Tend;
                        }
                        state = again;
                    }
                },
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

impl<P: Parcel> State<P> {
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

    /// The recipient has taken what came next.
    fn delivered(&mut self, unfinished: u64) {
        if self.end == End::Reached {
            // The ledger was printed. It comes again, and is not taken twice.
            return;
        }
        self.unfinished = unfinished;
        self.pass();
    }

    /// The recipient will never take what came next.
    fn reject(&mut self, loss: Loss) {
        if self.end == End::Reached {
            return;
        }
        self.rejected += loss;
        self.pass();
    }

    /// Of the parcel that came next, of which `parcel` would be the loss, the recipient leaves out
    /// `count` for good.
    fn refuse(&mut self, parcel: Loss, count: u64) {
        if self.end == End::Reached {
            return;
        }
        let (sightings, inherited) = if parcel.inherited > 0 { (0, count) } else { (count, 0) };
        self.rejected += Loss { sightings, inherited, ..Loss::default() };
    }

    fn pass(&mut self) {
        if let Err(error) = self.queue.acknowledge() {
            self.note_of_spool(&error);
        }
        self.count_losses();
        if self.queue.is_empty() {
            self.is_full_told = false;
        }
    }

    /// What came next is no parcel.
    fn discard(&mut self, reason: &io::Error) {
        let one = P::WORDS.one;
        self.note(format!("{one} in the spool cannot be understood, and is left out: {reason}"));
        if let Queue::Disk(spool) = &mut self.queue
            && let Err(error) = spool.discard()
        {
            self.note_of_spool(&error);
        }
        self.count_losses();
    }

    fn count_losses(&mut self) {
        let Losses { full, damaged } = self.queue.take_losses();
        self.losses.full += full;
        self.losses.damaged += damaged;
        if full.records > 0 && !std::mem::replace(&mut self.is_full_told, true) {
            let note = match self.queue {
                Queue::Disk(_) => {
                    "the spool is full: the oldest of what waits makes way, and is skipped; raise \
                     --spool-limit"
                }
                Queue::Memory(_) => {
                    "no more can wait in memory: the oldest of what waits makes way, and is lost; \
                     name a directory for it with --spool-dir"
                }
            };
            self.note(note.to_owned());
        }
        if damaged.records > 0 || damaged.bytes > 0 {
            let mut note = format!("the spool was damaged: {} bytes", damaged.bytes);
            if damaged.records > 0 {
                let count = damaged.sightings + damaged.inherited;
                let Words { many, unit, .. } = P::WORDS;
                // Writing to a String cannot fail.
                let _ = write!(note, " of {} {many} with {count} {unit}", damaged.records);
            }
            self.note(format!("{note} could not be read again, and are skipped"));
        }
    }
}
