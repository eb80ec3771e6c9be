//! Straight to a sink, on the thread of whoever brings what is to be logged.

use std::{
    fmt,
    mem::{self, Discriminant},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::sink::{FlowBatch, FlowSink, Refusals, SinkError};
use crate::{
    Loss,
    delivery::{Account, Backoff, MemoryQueue},
};

/// How many notes wait to be read at most; further ones are not told.
const MAX_NOTES: usize = 64;

/// Writes to a sink without a thread in between. What a sink that fails has not taken waits.
pub(super) struct Direct {
    sink: Box<dyn FlowSink>,
    target: String,
    queue: MemoryQueue<Arc<FlowBatch>>,
    backoff: Backoff,
    failing: Option<Failing>,
    rejected: Loss,
    is_closed: bool,
    is_full_told: bool,
    notes: Vec<String>,
}

/// What is known of a sink that fails.
#[derive(Debug)]
struct Failing {
    /// How it failed last.
    kind: Discriminant<SinkError>,
    /// When to try again.
    again: Instant,
}

impl Direct {
    pub(super) fn new(
        sink: Box<dyn FlowSink>,
        target: String,
        limit: u64,
        backoff: Backoff,
    ) -> Self {
        Self {
            sink,
            target,
            queue: MemoryQueue::new(limit),
            backoff,
            failing: None,
            rejected: Loss::default(),
            is_closed: false,
            is_full_told: false,
            notes: Vec::new(),
        }
    }

    pub(super) fn takes_json(&self) -> bool {
        self.sink.takes_json()
    }

    pub(super) fn submit(&mut self, batch: Arc<FlowBatch>, now: Instant) {
        let count = batch.records.len() as u64;
        self.queue.append(batch, count);
        if self.is_time(now) {
            self.write_all(now);
        }
        if self.queue.losses().full.records > 0 && !mem::replace(&mut self.is_full_told, true) {
            let target = &self.target;
            self.note(format!(
                "no more can wait for {target}: the oldest of what waits makes way, and is lost"
            ));
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.is_time(now) && self.write_all(now) {
            let ticked = self.sink.tick();
            self.learn(ticked, now);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn waiting_batches(&self) -> u64 {
        self.queue.waiting().0
    }

    pub(super) fn account(&self) -> Account {
        Account {
            waiting: self.queue.waiting().1,
            unfinished: self.sink.unfinished(),
            losses: self.queue.losses(),
            rejected: self.rejected,
        }
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        mem::take(&mut self.notes)
    }

    /// Writes and completes everything; tries for as long as `patience`.
    pub(super) fn finish(&mut self, patience: Duration) {
        let by = Instant::now() + patience;
        loop {
            let now = Instant::now();
            if self.is_closed {
                return;
            }
            if self.write_all(now) {
                let finished = self.sink.finish();
                if self.learn(finished, now) {
                    return;
                }
            }
            match &self.failing {
                Some(Failing { again, .. }) if *again < by && !self.is_closed => {
                    thread::sleep(again.saturating_duration_since(now));
                }
                _ => return,
            }
        }
    }

    fn is_time(&self, now: Instant) -> bool {
        !self.is_closed && self.failing.as_ref().is_none_or(|failing| failing.again <= now)
    }

    /// Writes all that waits, until something fails. Returns whether nothing did.
    fn write_all(&mut self, now: Instant) -> bool {
        while let Some(batch) = self.queue.oldest() {
            let written = self.sink.write(&batch);
            if let Err(error) = &written
                && error.is_final()
            {
                let sightings = batch.records.len() as u64;
                self.rejected += Loss { records: 1, sightings, ..Loss::default() };
                self.note(format!("{error}; a batch of flow records is left out"));
            } else if !self.learn(written, now) {
                return false;
            }
            self.count_refusals();
            self.queue.acknowledge();
        }
        true
    }

    /// Counts the records that the sink left out.
    fn count_refusals(&mut self) {
        let Refusals { records, reason } = self.sink.take_refusals();
        if records > 0 {
            self.rejected += Loss { sightings: records, ..Loss::default() };
            let target = &self.target;
            self.note(format!("{target} refuses flow records, which are left out: {reason}"));
        }
    }

    /// Remembers how something went, and returns whether it went well.
    fn learn(&mut self, result: Result<(), SinkError>, now: Instant) -> bool {
        let Err(error) = result else {
            self.backoff.reset();
            if self.failing.take().is_some() {
                let target = &self.target;
                self.note(format!("{target} is back; what had waited is delivered"));
            }
            return true;
        };
        let kind = mem::discriminant(&error);
        let again = now + self.backoff.after_failure(error.is_lasting());
        let before = self.failing.replace(Failing { kind, again });
        self.is_closed |= matches!(error, SinkError::Closed { .. });
        if before.is_none_or(|before| before.kind != kind) {
            self.note(format!("{error}; what is to be logged waits in memory"));
        }
        false
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("target", &self.target).finish_non_exhaustive()
    }
}
