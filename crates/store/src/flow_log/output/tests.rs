use std::sync::{
    Mutex, MutexGuard,
    mpsc::{self, Receiver, Sender},
};

use netglass_testing::directory_in_memory;
use tempfile::TempDir;

use super::*;
use crate::flow_log::fixtures;

const AMPLE: u64 = 1 << 30;
const LONG: Duration = Duration::from_secs(60);

/// What a sink holds, and how it fares.
#[derive(Debug, Default)]
struct Server {
    taken: Vec<u64>,
    failures: u64,
    attempts: u64,
    is_away: bool,
    /// Each call in so many fails.
    one_in: u64,
    rejects: Option<u64>,
    /// So many records of the second batch are left out.
    refuses: u64,
    refused: u64,
    unfinished: u64,
    finishes: u64,
}

/// A sink that takes each batch once.
struct Sink {
    server: Arc<Mutex<Server>>,
    /// Each write waits for a word, and tells that it does.
    held: Option<(Sender<()>, Receiver<()>)>,
}

impl FlowSink for Sink {
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        if let Some((waits, word)) = &self.held {
            waits.send(()).unwrap();
            // Whoever holds it may be gone.
            let _ = word.recv();
        }
        let mut server = self.server.lock().unwrap();
        server.attempts += 1;
        if server.rejects == Some(batch.sequence) {
            let reason = "no such column".to_owned();
            return Err(SinkError::Rejected { action: "write to", target: "sink".into(), reason });
        }
        let fails = server.one_in > 0 && server.attempts.is_multiple_of(server.one_in);
        // Half of the failures are answers that do not arrive.
        let is_lost = server.is_away || fails && server.failures.is_multiple_of(2);
        if !is_lost && !server.taken.contains(&batch.sequence) {
            server.taken.push(batch.sequence);
            if batch.sequence == 2 {
                server.refused = server.refuses;
            }
        }
        if server.is_away || fails {
            server.failures += 1;
            return Err(away());
        }
        Ok(())
    }

    fn take_refusals(&mut self) -> Refusals {
        let records = std::mem::take(&mut self.server.lock().unwrap().refused);
        Refusals { records, reason: "no address".to_owned() }
    }

    fn unfinished(&self) -> u64 {
        self.server.lock().unwrap().unfinished
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let mut server = self.server.lock().unwrap();
        if server.is_away {
            return Err(away());
        }
        server.finishes += 1;
        server.unfinished = 0;
        Ok(())
    }
}

fn away() -> SinkError {
    let reason = "connection reset by peer".to_owned();
    SinkError::Away { action: "write to", target: "sink".to_owned(), reason }
}

fn impatient() -> Backoff {
    Backoff::between(Duration::from_micros(10), Duration::from_micros(100))
}

/// A batch of three records.
fn batch(sequence: u64) -> Arc<FlowBatch> {
    Arc::new(fixtures::batch(sequence, vec![fixtures::record(); 3]))
}

#[derive(Default)]
struct Setup {
    server: Arc<Mutex<Server>>,
}

impl Setup {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    fn sink(&self) -> Box<dyn FlowSink> {
        Box::new(Sink { server: Arc::clone(&self.server), held: None })
    }

    fn output(&self, queue: Queue<Arc<FlowBatch>>, when_full: WhenFull) -> FlowOutput {
        let target = "sink".to_owned();
        FlowOutput::carried(self.sink(), target, queue, when_full, impatient()).unwrap()
    }

    fn in_memory(&self, limit: u64) -> FlowOutput {
        self.output(Queue::Memory(MemoryQueue::new(limit)), WhenFull::DropOldest)
    }

    fn on_disk(&self, directory: &TempDir, limit: u64) -> FlowOutput {
        // The thread of an earlier one may not have ended yet.
        let spool = loop {
            match FlowOutput::open_spool(directory.path(), limit) {
                Ok(spool) => break spool,
                Err(SpoolError::Locked { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        self.output(Queue::Disk(spool), WhenFull::DropOldest)
    }

    fn direct(&self, limit: u64) -> FlowOutput {
        let direct = Direct::new(self.sink(), "sink".to_owned(), limit, impatient());
        FlowOutput::new("sink".to_owned(), Way::Direct(Box::new(direct)))
    }
}

fn balanced(output: &FlowOutput) -> FlowLedger {
    let ledger = output.ledger();
    assert!(ledger.balances(), "{ledger}");
    ledger
}

#[test]
fn each_batch_arrives_once_in_order_whatever_fails() {
    let directory = directory_in_memory();
    for way in 0..3 {
        let setup = Setup::default();
        setup.server().one_in = 2;
        let mut output = match way {
            0 => setup.in_memory(AMPLE),
            1 => setup.on_disk(&directory, AMPLE),
            _ => setup.direct(AMPLE),
        };
        for number in 1..=100 {
            output.submit(&batch(number));
        }
        output.finish(LONG);
        assert_eq!(balanced(&output).to_string(), "300 flow records = 300 stored + 0 dropped");
        let server = setup.server();
        assert_eq!(server.taken, (1..=100).collect::<Vec<_>>());
        assert!(server.failures > 50 && server.finishes == 1, "{server:?}");
    }
}

#[test]
fn what_a_sink_did_not_take_waits_on_disk_for_the_next_run() {
    let directory = directory_in_memory();
    let setup = Setup::default();
    setup.server().is_away = true;
    let mut output = setup.on_disk(&directory, AMPLE);
    for number in 1..=10 {
        output.submit(&batch(number));
    }
    output.finish(Duration::from_millis(1));
    assert_eq!(
        balanced(&output).to_string(),
        "30 flow records = 0 stored + 30 spooled + 0 dropped"
    );
    drop(output);

    setup.server().is_away = false;
    let mut output = setup.on_disk(&directory, AMPLE);
    assert!(output.take_notes()[0].starts_with("10 batches of flow records of earlier runs wait"));
    output.submit(&batch(11));
    output.finish(LONG);
    assert_eq!(balanced(&output).to_string(), "3 flow records = 3 stored + 0 dropped");
    assert_eq!(setup.server().taken, (1..=11).collect::<Vec<_>>());
}

#[test]
fn what_waits_in_memory_at_the_end_is_lost_and_counted() {
    let setup = Setup::default();
    setup.server().is_away = true;
    for mut output in [setup.in_memory(AMPLE), setup.direct(AMPLE)] {
        output.submit(&batch(1));
        assert_eq!(balanced(&output).pending, 3);
        let notes = loop {
            let notes = output.take_notes();
            if !notes.is_empty() {
                break notes;
            }
            std::thread::yield_now();
        };
        assert!(notes[0].ends_with("what is to be logged waits in memory"), "{notes:?}");
        output.finish(Duration::from_millis(1));
        let ledger = balanced(&output).to_string();
        assert_eq!(ledger, "3 flow records = 0 stored + 3 dropped (3 abandoned)");
    }
}

#[test]
fn the_oldest_make_way_and_are_counted() {
    let directory = directory_in_memory();
    let setup = Setup::default();
    setup.server().is_away = true;
    let bytes = 8192;
    let outputs = [
        (setup.in_memory(30), DropReason::QueueFull),
        (setup.direct(30), DropReason::QueueFull),
        (setup.on_disk(&directory, bytes), DropReason::SpoolFull),
    ];
    for (mut output, reason) in outputs {
        for number in 1..=100 {
            output.submit(&batch(number));
        }
        assert!(output.waiting() <= 33 || reason == DropReason::SpoolFull);
        let told = output.take_notes();
        assert_eq!(told.iter().filter(|note| note.contains("makes way")).count(), 1, "{told:?}");
        output.finish(Duration::ZERO);
        let ledger = balanced(&output);
        assert_eq!((ledger.records, ledger.stored), (300, 0));
        assert!(ledger.dropped[&reason] >= 3, "{ledger}");
    }
}

#[test]
fn what_will_never_be_taken_is_left_out_and_what_follows_is_delivered() {
    let directory = directory_in_memory();
    for way in 0..3 {
        let setup = Setup::default();
        setup.server().rejects = Some(2);
        let mut output = match way {
            0 => setup.in_memory(AMPLE),
            1 => setup.on_disk(&directory, AMPLE),
            _ => setup.direct(AMPLE),
        };
        (1..=3).for_each(|number| output.submit(&batch(number)));
        output.finish(LONG);
        assert_eq!(setup.server().taken, [1, 3]);
        let ledger = balanced(&output).to_string();
        assert_eq!(ledger, "9 flow records = 6 stored + 3 dropped (3 rejected)");
        assert!(output.take_notes()[0].contains("no such column"));
    }
}

#[test]
fn records_that_are_left_out_of_a_batch_are_told_and_counted() {
    let directory = directory_in_memory();
    for way in 0..3 {
        let setup = Setup::default();
        setup.server().refuses = 2;
        let mut output = match way {
            0 => setup.in_memory(AMPLE),
            1 => setup.on_disk(&directory, AMPLE),
            _ => setup.direct(AMPLE),
        };
        (1..=3).for_each(|number| output.submit(&batch(number)));
        output.finish(LONG);
        assert_eq!(setup.server().taken, [1, 2, 3]);
        let ledger = balanced(&output).to_string();
        assert_eq!(ledger, "9 flow records = 7 stored + 2 dropped (2 rejected)");
        let told = "sink refuses flow records, which are left out: no address";
        assert_eq!(output.take_notes(), [told]);
    }
}

#[test]
fn who_can_wait_does_unless_the_sink_fails() {
    let directory = directory_in_memory();
    let spool = FlowOutput::open_spool(directory.path(), 8192).unwrap();
    for queue in [Queue::Memory(MemoryQueue::new(3)), Queue::Disk(spool)] {
        let setup = Setup::default();
        let (waits, waiting) = mpsc::channel();
        let (hold, word) = mpsc::channel();
        let sink = Sink { server: Arc::clone(&setup.server), held: Some((waits, word)) };
        let target = "sink".to_owned();
        let mut output =
            FlowOutput::carried(Box::new(sink), target, queue, WhenFull::Wait, impatient())
                .unwrap();
        let release = std::thread::spawn(move || {
            while waiting.recv().is_ok() {
                // The test may have ended.
                let _ = hold.send(());
            }
        });
        (1..=100).for_each(|number| output.submit(&batch(number)));
        assert_eq!(balanced(&output).dropped_total(), 0);
        setup.server().is_away = true;
        (101..=200).for_each(|number| output.submit(&batch(number)));
        output.finish(Duration::from_millis(1));
        assert!(balanced(&output).dropped_total() > 0, "nobody waits for ever");
        drop(output);
        release.join().unwrap();
    }
}

#[test]
fn what_is_in_a_file_that_is_not_complete_is_pending() {
    let setup = Setup::default();
    let mut output = setup.direct(AMPLE);
    output.submit(&batch(1));
    setup.server().unfinished = 2;
    assert_eq!(balanced(&output).to_string(), "3 flow records = 1 stored + 2 pending + 0 dropped");
    setup.server().is_away = true;
    output.finish(Duration::ZERO);
    let ledger = balanced(&output).to_string();
    assert_eq!(ledger, "3 flow records = 1 stored + 2 dropped (2 abandoned)");
}

#[test]
fn a_full_disk_under_the_spool_is_told_once_and_counted() {
    let directory = directory_in_memory();
    let setup = Setup::default();
    // Too small for any.
    let mut output = setup.on_disk(&directory, 100);
    (1..=5).for_each(|number| output.submit(&batch(number)));
    output.finish(LONG);
    let ledger = balanced(&output).to_string();
    assert_eq!(ledger, "15 flow records = 0 stored + 15 dropped (15 spool_unwritable)");
    assert_eq!(output.take_notes().len(), 1);
}

#[test]
fn the_end_is_not_kept_waiting_by_a_queue_that_is_full() {
    let (server, (waits, waiting), (word, held)) =
        (Arc::default(), mpsc::channel(), mpsc::channel());
    let sink = Sink { server: Arc::clone(&server), held: Some((waits, held)) };
    let queue = Queue::Memory(MemoryQueue::new(4));
    let when_full = WhenFull::Wait;
    let mut output =
        FlowOutput::carried(Box::new(sink), "sink".to_owned(), queue, when_full, backoff())
            .unwrap();
    let interrupt = Interrupt::new(LONG);
    output.interrupted_by(interrupt.clone());
    let submit = |output: &mut FlowOutput, number| {
        let batch = fixtures::batch(number, vec![fixtures::bare_record(); 4]);
        output.submit(&Arc::new(batch));
    };
    // One is with the sink, and one fills the queue.
    submit(&mut output, 1);
    waiting.recv().unwrap();
    submit(&mut output, 2);
    // The next one waits, until the end is asked for; nothing makes way for it.
    let asked = interrupt.clone();
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        asked.raise();
    });
    submit(&mut output, 3);
    asking.join().unwrap();
    assert_eq!((output.waiting(), output.ledger().dropped_total()), (12, 0));
    // What was there already waits a while, but not when it is asked for again.
    output.expect_the_last();
    interrupt.raise();
    submit(&mut output, 4);
    assert_eq!(output.ledger().dropped[&DropReason::QueueFull], 8);
    drop(word);
    drop(waiting);
}
