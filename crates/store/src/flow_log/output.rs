//! The way to one sink: straight to it, or over a queue in memory or on disk.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    direct::Direct,
    encoding,
    ledger::{DropReason, FlowLedger},
    sink::{FlowBatch, FlowSink, Refusals, SinkError},
};
use crate::{
    Interrupt, Spool, SpoolError,
    delivery::{Account, Backoff, Carrier, Failure, MemoryQueue, Parcel, Queue, Recipient, Words},
};

/// What happens where a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Whoever brings more waits, unless the sink fails: then the oldest make way. For captures that
    /// are read from files, which wait themselves.
    Wait,
    /// The oldest make way. For what does not wait.
    DropOldest,
}

/// The way to one sink. What goes wrong with it does not concern others.
#[derive(Debug)]
pub struct FlowOutput {
    target: String,
    way: Way,
    /// All records that were to be logged.
    submitted: u64,
    /// Those of them that could not be put on disk.
    unwritable: u64,
    is_finished: bool,
    notes: Vec<String>,
    interrupt: Interrupt,
    /// Whether nothing comes but what is there already.
    is_last: bool,
    /// Whether that was waited for long enough.
    is_given_up: bool,
}

#[derive(Debug)]
enum Way {
    Direct(Box<Direct>),
    Carried { carrier: Carrier<Arc<FlowBatch>>, when_full: WhenFull, is_spooled: bool },
}

impl FlowOutput {
    /// Straight to a sink that is on this host: whoever brings more waits for it. While it fails,
    /// up to `limit` records wait in memory; then the oldest make way.
    ///
    /// `target` is what messages call the sink.
    #[must_use]
    pub fn direct(sink: Box<dyn FlowSink>, target: String, limit: u64) -> Self {
        let direct = Direct::new(sink, target.clone(), limit, backoff());
        Self::new(target, Way::Direct(Box::new(direct)))
    }

    /// Over a queue of `limit` records in memory, to a sink that may be away. This starts a thread,
    /// with the privileges of the one that calls.
    pub fn queued(
        sink: Box<dyn FlowSink>,
        target: String,
        limit: u64,
        when_full: WhenFull,
    ) -> io::Result<Self> {
        let queue = Queue::Memory(MemoryQueue::new(limit));
        Self::carried(sink, target, queue, when_full, backoff())
    }

    /// Opens the spool in `directory`, which takes `limit` bytes at most, for
    /// [`FlowOutput::spooled`].
    pub fn open_spool(directory: &Path, limit: u64) -> Result<Spool, SpoolError> {
        Spool::open(directory, limit, encoding::CONTENT)
    }

    /// Over a spool on disk, to a sink that may be away: what is there when the process ends is
    /// delivered by the next one. This starts a thread, with the privileges of the one that calls.
    pub fn spooled(
        sink: Box<dyn FlowSink>,
        target: String,
        spool: Spool,
        when_full: WhenFull,
    ) -> io::Result<Self> {
        Self::carried(sink, target, Queue::Disk(spool), when_full, backoff())
    }

    pub(super) fn carried(
        sink: Box<dyn FlowSink>,
        target: String,
        queue: Queue<Arc<FlowBatch>>,
        when_full: WhenFull,
        backoff: Backoff,
    ) -> io::Result<Self> {
        let is_spooled = matches!(queue, Queue::Disk(_));
        let carrier = Carrier::start(queue, sink, target.clone(), backoff)?;
        Ok(Self::new(target, Way::Carried { carrier, when_full, is_spooled }))
    }

    fn new(target: String, way: Way) -> Self {
        let notes = Vec::new();
        let interrupt = Interrupt::default();
        Self {
            target,
            way,
            submitted: 0,
            unwritable: 0,
            is_finished: false,
            notes,
            interrupt,
            is_last: false,
            is_given_up: false,
        }
    }

    /// Has whoever waits for room wait no longer than this says.
    pub(super) fn interrupted_by(&mut self, interrupt: Interrupt) {
        self.interrupt = interrupt;
    }

    /// From now on nothing comes but what is there already: however full a queue is, it is worth
    /// waiting a while.
    pub(super) fn expect_the_last(&mut self) {
        self.is_last = true;
    }

    /// What messages call the sink.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether its sink is on the same thread and writes JSON Lines.
    pub(super) fn takes_json(&self) -> bool {
        matches!(&self.way, Way::Direct(direct) if direct.takes_json())
    }

    /// Takes a batch. What cannot be taken is noted, and counted in the ledger.
    pub fn submit(&mut self, batch: &Arc<FlowBatch>) {
        let count = batch.records.len() as u64;
        self.submitted += count;
        match &mut self.way {
            Way::Direct(direct) => direct.submit(Arc::clone(batch), Instant::now()),
            Way::Carried { carrier, when_full, .. } => {
                let has_room = *when_full == WhenFull::DropOldest
                    || self.is_given_up
                    || carrier.wait_for_room(count, &self.interrupt, self.is_last);
                self.is_given_up |= self.is_last && !has_room;
                // Who brings it ends at once, and has brought little.
                let submitted = if !has_room && !self.is_last && self.interrupt.is_first() {
                    carrier.submit_beyond(Arc::clone(batch))
                } else {
                    carrier.submit(Arc::clone(batch))
                };
                if let Err(error) = submitted {
                    if self.unwritable == 0 {
                        self.notes.push(format!("{error}; what cannot be written there is lost"));
                    }
                    self.unwritable += count;
                }
            }
        }
    }

    /// To be called now and then, also while there is nothing to log.
    pub fn tick(&mut self) {
        if let Way::Direct(direct) = &mut self.way {
            direct.tick(Instant::now());
        }
    }

    /// Whether whoever read it has ended, so that nothing will ever be written there again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.way {
            Way::Direct(direct) => direct.is_closed(),
            Way::Carried { .. } => false,
        }
    }

    /// How many records wait, in memory or on disk.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.account().waiting
    }

    /// How many batches wait, in memory or on disk, those of earlier runs included.
    #[must_use]
    pub fn waiting_batches(&self) -> u64 {
        match &self.way {
            Way::Direct(direct) => direct.waiting_batches(),
            Way::Carried { carrier, .. } => carrier.waiting_parcels(),
        }
    }

    /// What became of all records so far.
    #[must_use]
    pub fn ledger(&self) -> FlowLedger {
        let Account { waiting, unfinished, losses, rejected } = self.account();
        let is_spooled = matches!(&self.way, Way::Carried { is_spooled: true, .. });
        let full = if is_spooled { DropReason::SpoolFull } else { DropReason::QueueFull };
        let lost = [
            (full, losses.full),
            (DropReason::SpoolDamaged, losses.damaged),
            (DropReason::Rejected, rejected),
        ];
        let mut ledger = FlowLedger { records: self.submitted, ..FlowLedger::default() };
        ledger.drop_records(DropReason::SpoolUnwritable, self.unwritable);
        for (reason, loss) in lost {
            ledger.drop_records(reason, loss.sightings);
        }
        let unstored = if is_spooled { unfinished } else { unfinished + waiting };
        if is_spooled {
            ledger.spooled = waiting;
        }
        if self.is_finished {
            ledger.drop_records(DropReason::Abandoned, unstored);
        } else {
            ledger.pending = unstored;
        }
        let elsewhere = ledger.spooled + ledger.pending + ledger.dropped_total();
        ledger.stored = ledger.records.saturating_sub(elsewhere);
        // The ledger of the run that made them says that they wait.
        for (reason, loss) in lost {
            ledger.records += loss.inherited;
            ledger.drop_records(reason, loss.inherited);
        }
        ledger
    }

    fn account(&self) -> Account {
        match &self.way {
            Way::Direct(direct) => direct.account(),
            Way::Carried { carrier, .. } => carrier.account(),
        }
    }

    /// What the user should know and was not told yet.
    #[must_use]
    pub fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(match &mut self.way {
            Way::Direct(direct) => direct.take_notes(),
            Way::Carried { carrier, .. } => carrier.take_notes(),
        });
        notes
    }

    /// Delivers what waits, for `patience` at most, and completes what is to be completed. What is
    /// left on disk then waits for the next run; what is left in memory is lost.
    pub fn finish(&mut self, patience: Duration) {
        match &mut self.way {
            Way::Direct(direct) => direct.finish(patience),
            Way::Carried { carrier, .. } => drop(carrier.finish(patience)),
        }
        self.is_finished = true;
    }
}

fn backoff() -> Backoff {
    Backoff::between(Duration::from_secs(1), Duration::from_secs(30))
}

impl Parcel for Arc<FlowBatch> {
    const CONTENT: u16 = encoding::CONTENT;
    const WORDS: Words = Words {
        one: "a batch of flow records",
        many: "batches of flow records",
        unit: "flow records",
        contents: "what is to be logged",
    };

    fn count(&self) -> u64 {
        self.records.len() as u64
    }

    fn encode(self) -> io::Result<Vec<u8>> {
        encoding::encode(&self)
    }

    fn decode(content: u16, bytes: &[u8]) -> io::Result<Self> {
        encoding::decode(content, bytes).map(Self::new)
    }
}

impl Failure for SinkError {
    fn is_lasting(&self) -> bool {
        self.is_lasting()
    }

    fn is_final(&self) -> bool {
        self.is_final()
    }
}

impl Recipient<Arc<FlowBatch>> for Box<dyn FlowSink> {
    type Error = SinkError;

    fn take(&mut self, batch: &Arc<FlowBatch>) -> Result<(), SinkError> {
        self.write(batch)
    }

    fn tend(&mut self) -> Option<String> {
        self.tick().err().map(|error| error.to_string())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn take_refusals(&mut self) -> Option<(u64, String)> {
        let Refusals { records, reason } = FlowSink::take_refusals(self.as_mut());
        (records > 0).then_some((records, reason))
    }

    fn unfinished(&self) -> u64 {
        FlowSink::unfinished(self.as_ref())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        FlowSink::finish(self.as_mut())
    }
}

#[cfg(test)]
mod tests;
