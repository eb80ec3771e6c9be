//! From a capture to all of its outputs.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use netglass_model::FlowRecord;
use uuid::Uuid;

use super::{output::FlowOutput, sink::FlowBatch};
use crate::Interrupt;

/// For so many records of a batch there is room at once.
const RESERVED: usize = 4096;

/// When records are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Once there are so many.
    pub records: usize,
    /// Once the first one has waited for so long.
    pub age: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1024, age: Duration::from_secs(1) }
    }
}

/// Takes the records of one run of a capture, and passes them on in batches to each of its outputs.
#[derive(Debug)]
pub struct FlowLog {
    run: Uuid,
    /// How many batches there were.
    sequence: u64,
    limits: BatchLimits,
    waiting: Vec<FlowRecord>,
    /// When the first of those that wait came.
    since: Option<Instant>,
    outputs: Vec<FlowOutput>,
}

impl FlowLog {
    /// Another run than any other.
    #[must_use]
    pub fn new(limits: BatchLimits, outputs: Vec<FlowOutput>) -> Self {
        let run = Uuid::now_v7();
        Self { run, sequence: 0, limits, waiting: Vec::new(), since: None, outputs }
    }

    /// Has whoever waits for room in a queue of any output wait no longer than this says.
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: &Interrupt) -> Self {
        for output in &mut self.outputs {
            output.interrupted_by(interrupt.clone());
        }
        self
    }

    /// From now on nothing comes but what is there already.
    pub fn expect_the_last(&mut self) {
        self.outputs.iter_mut().for_each(FlowOutput::expect_the_last);
    }

    /// Whether all outputs write JSON Lines: in the queue of another one they would wait for nobody.
    #[must_use]
    pub fn takes_json(&self) -> bool {
        self.outputs.iter().all(FlowOutput::takes_json)
    }

    /// When records are passed on.
    #[must_use]
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// Takes a record, which is completed where it is kept: to move one takes about as long as to make it.
    #[inline]
    pub fn push(&mut self, record: FlowRecord, complete: impl FnOnce(&mut FlowRecord)) {
        if self.waiting.is_empty() {
            self.since = Some(Instant::now());
            self.waiting.reserve_exact(self.limits.records.min(RESERVED));
        }
        self.waiting.push(record);
        if let Some(record) = self.waiting.last_mut() {
            complete(record);
        }
        if self.waiting.len() >= self.limits.records {
            self.flush();
        }
    }

    /// Passes on records that are a batch already. `json` is the same as JSON Lines.
    pub fn pass_on(&mut self, records: Vec<FlowRecord>, json: Vec<u8>) {
        self.submit(records, Some(json));
    }

    /// Does what is due. To be called now and then, also while no record comes.
    pub fn tick(&mut self, now: Instant) {
        let is_due = |since| now.saturating_duration_since(since) >= self.limits.age;
        if self.since.is_some_and(is_due) {
            self.flush();
        }
        self.outputs.iter_mut().for_each(FlowOutput::tick);
    }

    /// Passes on what there is.
    pub fn flush(&mut self) {
        self.since = None;
        let records = mem::take(&mut self.waiting);
        self.submit(records, None);
    }

    fn submit(&mut self, records: Vec<FlowRecord>, json: Option<Vec<u8>>) {
        if records.is_empty() {
            return;
        }
        self.sequence += 1;
        let batch = FlowBatch { json, ..FlowBatch::new(self.run, self.sequence, records) };
        let batch = Arc::new(batch);
        for output in &mut self.outputs {
            output.submit(&batch);
        }
    }

    /// How many records wait for a batch to be full.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The outputs, with what became of each one's records.
    #[must_use]
    pub fn outputs(&self) -> &[FlowOutput] {
        &self.outputs
    }

    /// What the user should know and was not told yet.
    #[must_use]
    pub fn take_notes(&mut self) -> Vec<String> {
        self.outputs.iter_mut().flat_map(FlowOutput::take_notes).collect()
    }

    /// Passes on what there is, and completes each output. All of them together have `patience`.
    pub fn finish(&mut self, patience: Duration) {
        self.flush();
        let by = Instant::now() + patience;
        // Those with a thread of their own go on while the others are completed.
        for output in &mut self.outputs {
            output.finish(by.saturating_duration_since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::flow_log::{FlowSink, SinkError, fixtures};

    /// Remembers how many records were in each batch.
    #[derive(Clone, Default)]
    struct Memory {
        lengths: Arc<Mutex<Vec<usize>>>,
        is_away: bool,
        takes_json: bool,
    }

    impl FlowSink for Memory {
        fn takes_json(&self) -> bool {
            self.takes_json
        }

        fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
            if self.is_away {
                return Err(SinkError::Full { action: "write to", target: "disk".to_owned() });
            }
            let mut lengths = self.lengths.lock().unwrap();
            lengths.push(batch.records.len());
            assert_eq!(batch.sequence, lengths.len() as u64);
            Ok(())
        }
    }

    fn log(sinks: &[&Memory]) -> FlowLog {
        let output = |sink: &&Memory| {
            FlowOutput::direct(Box::new((*sink).clone()), "sink".to_owned(), 1 << 20)
        };
        let limits = BatchLimits { records: 4, age: Duration::from_secs(1) };
        FlowLog::new(limits, sinks.iter().map(output).collect())
    }

    fn add(log: &mut FlowLog, records: usize) {
        (0..records).for_each(|_| log.push(fixtures::bare_record(), |_| {}));
    }

    #[test]
    fn a_batch_is_passed_on_when_it_is_full_and_when_it_is_old() {
        let sink = Memory::default();
        let mut log = log(&[&sink]);
        let start = Instant::now();
        add(&mut log, 10);
        let added = Instant::now();
        assert_eq!((log.waiting(), &*sink.lengths.lock().unwrap()), (2, &vec![4, 4]));
        log.tick(start + Duration::from_millis(999));
        assert_eq!(log.waiting(), 2);
        log.tick(added + Duration::from_secs(1));
        log.tick(added + Duration::from_secs(2));
        assert_eq!((log.waiting(), &*sink.lengths.lock().unwrap()), (0, &vec![4, 4, 2]));
        add(&mut log, 1);
        log.finish(Duration::ZERO);
        assert_eq!(*sink.lengths.lock().unwrap(), [4, 4, 2, 1]);
    }

    #[test]
    fn json_is_wanted_where_nobody_wants_anything_else() {
        let other = Memory::default();
        let json = Memory { takes_json: true, ..Memory::default() };
        let wanted = [&[&json, &json][..], &[&json, &other], &[&other]];
        assert_eq!(wanted.map(|sinks| log(sinks).takes_json()), [true, false, false]);
    }

    #[test]
    fn what_is_a_batch_already_does_not_wait() {
        let sink = Memory::default();
        let mut log = log(&[&sink]);
        add(&mut log, 6);
        log.pass_on(vec![fixtures::bare_record(); 3], Vec::new());
        add(&mut log, 1);
        log.finish(Duration::ZERO);
        assert_eq!(*sink.lengths.lock().unwrap(), [4, 3, 3]);
    }

    #[test]
    fn one_output_that_fails_does_not_stop_the_others() {
        let sink = Memory::default();
        let away = Memory { is_away: true, ..Memory::default() };
        let mut log = log(&[&away, &sink]);
        add(&mut log, 10);
        log.finish(Duration::ZERO);
        let ledgers: Vec<_> = log.outputs().iter().map(|it| it.ledger().to_string()).collect();
        assert_eq!(
            ledgers,
            [
                "10 flow records = 0 stored + 10 dropped (10 abandoned)",
                "10 flow records = 10 stored + 0 dropped"
            ]
        );
        assert_eq!(
            log.take_notes(),
            [
                "cannot write to disk: no space is left; make room, or name another place; what is to \
              be logged waits in memory"
            ]
        );
    }
}
