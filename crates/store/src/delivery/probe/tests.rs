use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use netglass_model::{Host, HostId, NamespaceInode, Observations, ProbeId, ProbeStatus, Timestamp};
use netglass_testing::directory_in_memory;
use tempfile::TempDir;

use super::*;
use crate::{Claim, Database, DatabaseUrl, Snapshot, Window, flow_log::FlowBatch};

const AMPLE: u64 = 1 << 30;
const LONG: Duration = Duration::from_secs(60);

/// What a server holds, and how it fares.
#[derive(Debug, Default)]
struct Server {
    /// The numbers of the flushes that were taken, by probe, in order.
    taken: BTreeMap<ProbeId, Vec<u64>>,
    order: Vec<(ProbeId, u64)>,
    maintained: u64,
    failures: u64,
    faults: Faults,
}

/// When a server fails: each call in so many does, at any of the places where it can.
#[derive(Debug, Default)]
struct Faults {
    one_in: u64,
    is_away: bool,
    random: u64,
}

impl Server {
    fn fails(&mut self) -> Result<(), Error> {
        let faults = &mut self.faults;
        faults.random = faults.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let happens = faults.one_in > 0 && (faults.random >> 33).is_multiple_of(faults.one_in);
        if faults.is_away || happens {
            self.failures += 1;
            return Err(failed());
        }
        Ok(())
    }
}

fn failed() -> Error {
    Error::Failed {
        action: "write observations to the database",
        database: DatabaseUrl::sqlite("server"),
        reason: "connection reset by peer".to_owned(),
    }
}

/// A connection to a server.
struct Connection {
    server: Arc<Mutex<Server>>,
    is_claimed: bool,
    /// After a failure nothing works any more.
    is_broken: bool,
    /// Each write waits for a word, and tells that it does.
    held: Option<(Sender<()>, Receiver<()>)>,
}

fn unused<T>() -> Result<T, Error> {
    unreachable!("a delivery does not read")
}

impl Database for Connection {
    fn claim(&mut self, _: &HostId, _: Claim) -> Result<(), Error> {
        self.server.lock().unwrap().fails()?;
        self.is_claimed = true;
        Ok(())
    }

    fn write(&mut self, flush: &Flush) -> Result<(), Error> {
        assert!(self.is_claimed && !self.is_broken);
        if let Some((waits, word)) = &self.held {
            waits.send(()).unwrap();
            // Whoever holds it may be gone.
            let _ = word.recv();
        }
        let mut server = self.server.lock().unwrap();
        self.is_broken = true;
        // The connection is cut before anything is done …
        server.fails()?;
        let taken = server.taken.entry(flush.probe.id).or_default();
        if taken.last().is_none_or(|&last| last < flush.sequence) {
            taken.push(flush.sequence);
            server.order.push((flush.probe.id, flush.sequence));
        }
        // … or before the answer is there.
        server.fails()?;
        self.is_broken = false;
        Ok(())
    }

    fn log_flows(&mut self, _: &HostId, _: &FlowBatch) -> Result<(), Error> {
        unreachable!("a probe logs no flows")
    }

    fn maintain(&mut self, _: Timestamp) -> Result<u64, Error> {
        let mut server = self.server.lock().unwrap();
        server.maintained += 1;
        server.fails().map(|()| 0)
    }

    fn maintain_flow_log(&mut self, _: Timestamp) -> Result<(), Error> {
        unreachable!("a probe logs no flows")
    }

    fn probes(&mut self) -> Result<Vec<ProbeStatus>, Error> {
        unused()
    }

    fn snapshot(&mut self, _: Window) -> Result<Box<dyn Snapshot + '_>, Error> {
        unused()
    }
}

fn host() -> Host {
    let id = HostId { machine_id: "0".repeat(32), hostname: "host".to_owned() };
    Host { id, namespace: NamespaceInode(1), addresses: Vec::new() }
}

/// A server, and the disk of a host whose probes write to it.
struct Fleet {
    server: Arc<Mutex<Server>>,
    directory: TempDir,
}

impl Fleet {
    fn new() -> Self {
        Self { server: Arc::default(), directory: directory_in_memory() }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    fn open(&self) -> Open {
        let server = Arc::clone(&self.server);
        Box::new(move || {
            server.lock().unwrap().fails()?;
            let server = Arc::clone(&server);
            let mut opened = Connection { server, is_claimed: false, is_broken: false, held: None };
            opened.claim(&host().id, Claim::AllNamespaces)?;
            Ok(Box::new(opened))
        })
    }

    /// Starts to deliver, impatiently.
    fn deliver(&self, limit: u64) -> Delivery {
        self.deliver_to(limit, self.open())
    }

    fn deliver_to(&self, limit: u64, open: Open) -> Delivery {
        // The thread of an earlier one may not have ended yet.
        let spool = loop {
            match Delivery::open_spool(self.directory.path(), limit) {
                Ok(spool) => break spool,
                Err(SpoolError::Locked { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let backoff = Backoff::between(Duration::from_micros(10), Duration::from_micros(100));
        Delivery::start_with(spool, open, Maintenance::new(LONG), backoff).unwrap()
    }
}

/// A run of a probe.
struct Run {
    probe: netglass_model::Probe,
    ledger: Ledger,
    flushes: u64,
}

impl Run {
    fn new() -> Self {
        let observations = empty();
        let probe = netglass_testing::flush(&observations).probe;
        Self { probe, ledger: Ledger::default(), flushes: 0 }
    }

    /// Flushes so many sightings.
    fn flush(&mut self, delivery: &Delivery, sightings: u64) -> Result<(), SpoolError> {
        self.ledger.pend(sightings);
        let mut flush = netglass_testing::flush(&empty());
        flush.probe = self.probe.clone();
        flush.sequence = self.flushes + 1;
        flush.ledger = self.ledger.clone();
        // The clock goes backwards.
        flush.at = Timestamp::from_nanoseconds(-i64::try_from(self.flushes).unwrap());
        delivery.submit(flush)?;
        self.flushes += 1;
        self.ledger.flushed();
        Ok(())
    }

    fn ledger(&self, delivery: &Delivery) -> Ledger {
        let mut ledger = self.ledger.clone();
        delivery.settle(&mut ledger);
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }
}

fn empty() -> Observations {
    Observations {
        host: host(),
        namespaces: Vec::new(),
        flows: Vec::new(),
        listeners: Vec::new(),
        translations: Vec::new(),
    }
}

#[test]
fn each_flush_arrives_once_in_order_whatever_fails() {
    let fleet = Fleet::new();
    fleet.server().faults.one_in = 2;
    let mut wanted = Vec::new();
    for run in 0..20 {
        fleet.server().faults.random = run;
        let delivery = fleet.deliver(AMPLE);
        let mut run = Run::new();
        for _ in 0..50 {
            run.flush(&delivery, 3).unwrap();
            wanted.push((run.probe.id, run.flushes));
        }
        // Some runs end with much, others with nothing left to do.
        delivery.finish(Duration::from_millis(run.flushes % 3 * 20));
        let ledger = run.ledger(&delivery);
        assert_eq!((ledger.seen, ledger.stored + ledger.spooled), (150, 150));
    }
    let left = fleet.deliver(AMPLE).finish(LONG);
    assert_eq!(left.flushes, 0);
    let server = fleet.server();
    assert!(server.failures > 1000, "{}", server.failures);
    assert_eq!(server.order, wanted);
}

#[test]
fn a_database_that_does_not_answer_keeps_nobody_waiting() {
    let fleet = Fleet::new();
    let (waits, waiting) = mpsc::channel();
    let (hold, word) = mpsc::channel();
    let mut held = Some((waits, word));
    let server = Arc::clone(&fleet.server);
    let open = Box::new(move || {
        let (server, held) = (Arc::clone(&server), held.take());
        let connection = Connection { server, is_claimed: true, is_broken: false, held };
        Ok(Box::new(connection) as Box<dyn Database>)
    });
    let delivery = fleet.deliver_to(AMPLE, open);
    let mut run = Run::new();
    for _ in 0..10 {
        run.flush(&delivery, 3).unwrap();
    }
    waiting.recv().unwrap();
    run.flush(&delivery, 3).unwrap();
    assert_eq!(delivery.finish(Duration::from_millis(1)).flushes, 11);
    let ledger = run.ledger(&delivery);
    assert_eq!((ledger.stored, ledger.spooled), (0, 33));
    // It answers when the ledger was printed: what it took is sent again.
    drop(delivery);
    hold.send(()).unwrap();

    let delivery = fleet.deliver(AMPLE);
    assert_eq!(delivery.take_notes(), ["11 flushes of earlier runs wait in the spool"]);
    let mut next = Run::new();
    next.flush(&delivery, 5).unwrap();
    assert_eq!(delivery.finish(LONG).flushes, 0);
    let ledger = next.ledger(&delivery);
    assert_eq!((ledger.seen, ledger.stored), (5, 5));
    let mut wanted: Vec<_> = (1..=11).map(|number| (run.probe.id, number)).collect();
    wanted.push((next.probe.id, 1));
    assert_eq!(fleet.server().order, wanted);
}

#[test]
fn a_database_that_is_away_is_told_once_and_so_is_its_return() {
    let fleet = Fleet::new();
    fleet.server().faults.is_away = true;
    let delivery = fleet.deliver(AMPLE);
    let mut run = Run::new();
    run.flush(&delivery, 3).unwrap();
    let mut notes = Vec::new();
    while fleet.server().failures < 10 {
        notes.extend(delivery.take_notes());
        thread::yield_now();
    }
    fleet.server().faults.is_away = false;
    assert_eq!(delivery.finish(LONG).flushes, 0);
    notes.extend(delivery.take_notes());
    let away = format!("{}; what was seen waits in the spool", failed());
    assert_eq!(notes, [away.as_str(), "the database is back; what had waited is delivered"]);
    assert_eq!(fleet.server().maintained, 1);
}

#[test]
fn what_makes_way_in_a_full_spool_is_counted_for_whoever_saw_it() {
    let fleet = Fleet::new();
    fleet.server().faults.is_away = true;
    let limit = 4096;
    let delivery = fleet.deliver(limit);
    let mut first = Run::new();
    first.flush(&delivery, 7).unwrap();
    delivery.finish(Duration::ZERO);
    assert_eq!(first.ledger(&delivery).spooled, 7);
    drop(delivery);

    let delivery = fleet.deliver(limit);
    let mut run = Run::new();
    for _ in 0..100 {
        run.flush(&delivery, 3).unwrap();
        assert!(delivery.usage().bytes <= limit);
    }
    delivery.finish(Duration::ZERO);
    let left = delivery.usage().flushes;
    let ledger = run.ledger(&delivery);
    assert_eq!((ledger.seen, ledger.stored, ledger.spooled), (307, 0, 3 * left));
    assert_eq!(ledger.skipped[&Skip::SpoolFull], 307 - 3 * left);
    let told = delivery.take_notes().iter().filter(|it| it.contains("--spool-limit")).count();
    assert_eq!(told, 1);
}

#[test]
fn what_is_no_flush_is_left_out_and_what_follows_is_delivered() {
    let fleet = Fleet::new();
    let mut spool = Delivery::open_spool(fleet.directory.path(), AMPLE).unwrap();
    spool.append(b"no flush", 11).unwrap();
    drop(spool);
    let delivery = fleet.deliver(AMPLE);
    let mut run = Run::new();
    run.flush(&delivery, 3).unwrap();
    assert_eq!(delivery.finish(LONG).flushes, 0);
    let ledger = run.ledger(&delivery);
    assert_eq!((ledger.stored, ledger.skipped[&Skip::SpoolDamaged]), (3, 11));
    assert!(delivery.take_notes().iter().any(|it| it.contains("cannot be understood")));
}
