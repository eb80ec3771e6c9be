//! Probing this host: scans at an interval, flushes to the database, the ledger at the end. The
//! same for `probe` and `up`.

mod arguments;
mod ledger;
mod schedule;
mod source;
mod trial;

use std::{
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use anyhow::bail;
use netglass_kernel::{Collector, Needs, Sightings, drop_to};
use netglass_model::{
    Degradation, Flush, HostId, Lack, Ledger, Probe, ProbeId, Skip, SpoolUsage, Timestamp,
};
use netglass_store::{Claim, Database};

use self::source::Source;
pub(crate) use self::{
    arguments::ScanArguments,
    ledger::{LedgerFormat, LedgerObject, print as print_ledger},
    schedule::{Event, RegisteredSignals, Schedule, Signals},
    trial::{Trial, TriedMode},
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::{boot_id, this_host_id},
    text::printable,
};

/// Whether something is full, as the ledger tells it.
type IsFull = fn(&Ledger) -> bool;

/// What can be full, and what is said then.
const FULL: [(IsFull, &str); 3] = [
    (
        |ledger| ledger.skipped.contains_key(&Skip::TableFull),
        "there are more flows, listeners, processes or sockets than there is room for, and the \
         rest is skipped; raise --max-flows or --max-sockets",
    ),
    (
        |ledger| ledger.skipped.contains_key(&Skip::MapFull),
        "there are more flows in an interval than the kernel programs have room for, and the rest \
         is skipped; raise --max-kernel-flows or shorten --interval",
    ),
    (
        |ledger| ledger.lacking.contains_key(&Lack::ProcessBufferFull),
        "more processes begin to talk in an interval than the kernel programs have room for, and \
         the flows of the rest have no process; raise --process-buffer or shorten --interval",
    ),
];

/// Looks at the sockets of this host and flushes what it saw to a database.
pub(crate) struct Prober {
    source: Source,
    collector: Collector,
    database: Box<dyn Database>,
    host: HostId,
    probe: Probe,
    /// How many flushes the database has taken.
    flushes: u64,
    bucket: Duration,
    /// The time bucket in which old observations were seen to last.
    maintained_in: Option<Timestamp>,
    maintaining_fails: bool,
    is_database_away: bool,
    notes: Vec<String>,
}

impl Prober {
    /// Gets ready to probe, then gives up all privileges that probing does not need: threads are to
    /// be started after this. What is flushed goes to the database.
    pub(crate) fn new(
        arguments: &ScanArguments,
        sightings: Sightings,
        database_arguments: &DatabaseArguments,
        storage: &StorageArguments,
    ) -> anyhow::Result<Self> {
        let settings = storage.settings();
        let mut database = database_arguments.open_to_write(settings)?;
        let (source, degradation) = Source::open(arguments, sightings)?;
        let all_namespaces = arguments.selection().all_namespaces;
        let host = this_host_id();
        let claim = if all_namespaces {
            Claim::AllNamespaces
        } else {
            Claim::Namespace(source.own_namespace())
        };
        database.claim(&host, claim)?;
        let needs = Needs {
            processes: true,
            all_namespaces,
            foreign_files: database_arguments.is_foreign()?,
        };
        let dropped = drop_privileges(needs, source.trial());
        let mut prober = Self {
            source,
            collector: Collector::new(arguments.limits()),
            database,
            host,
            probe: Probe {
                id: ProbeId::new(),
                boot_id: boot_id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: now(),
            },
            flushes: 0,
            bucket: settings.bucket,
            maintained_in: None,
            maintaining_fails: false,
            is_database_away: false,
            notes: degradation.iter().map(Degradation::to_string).chain(dropped).collect(),
        };
        prober.note_degradations();
        Ok(prober)
    }

    /// Looks at what sockets do.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let told = self.lacks_room();
        self.source.look(&mut self.collector)?;
        self.note_lack_of_room(told);
        self.note_degradations();
        Ok(())
    }

    /// Writes what was seen since the last flush. Where the database cannot take it, it is kept for
    /// the next flush, and that is noted; whether it went well is returned.
    pub(crate) fn flush(&mut self) -> bool {
        self.flush_as(false)
    }

    fn flush_as(&mut self, last: bool) -> bool {
        let flush = Flush {
            probe: self.probe.clone(),
            sequence: self.flushes + 1,
            at: now(),
            last,
            ledger: self.collector.ledger().clone(),
            spool: SpoolUsage::default(),
            observations: self
                .collector
                .observations(self.host.clone(), self.source.own_namespace()),
        };
        if let Err(error) = self.database.write(&flush) {
            if !std::mem::replace(&mut self.is_database_away, true) {
                let error = anyhow::Error::new(error);
                self.notes.push(format!("{error:#}; what was seen is kept and tried again"));
            }
            return false;
        }
        self.flushes += 1;
        self.collector.flushed();
        self.source.flushed();
        if std::mem::take(&mut self.is_database_away) {
            self.notes.push("the database is back; what had waited is stored".to_owned());
        }
        self.maintain();
        true
    }

    /// Flushes for the last time. What the database does not take is lost, which is a failure.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let told = self.lacks_room();
        let looked = self.source.look_before_the_end(&mut self.collector);
        self.note_lack_of_room(told);
        self.note_degradations();
        looked.and(self.flush_or_lose())
    }

    fn flush_or_lose(&mut self) -> anyhow::Result<()> {
        let lost = self.collector.ledger().pending;
        if self.flush_as(true) || lost == 0 {
            return Ok(());
        }
        self.collector.abandon();
        bail!("{lost} sightings of sockets could not be stored")
    }

    /// What became of every socket that was seen.
    pub(crate) fn ledger(&self) -> &Ledger {
        self.collector.ledger()
    }

    /// The database, to read what was flushed.
    pub(crate) fn database(&mut self) -> &mut dyn Database {
        self.database.as_mut()
    }

    /// What the user should know and was not told yet.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Puts together what is old and removes what is too old, once in each time bucket.
    fn maintain(&mut self) {
        let now = now();
        let bucket = Some(now.bucket(self.bucket));
        if self.maintained_in == bucket {
            return;
        }
        self.maintained_in = bucket;
        let failed = self.database.maintain(now).err();
        let failed_before = std::mem::replace(&mut self.maintaining_fails, failed.is_some());
        if let (Some(error), false) = (failed, failed_before) {
            let error = anyhow::Error::new(error);
            self.notes.push(format!("{error:#}; what is older than the retention is still there"));
        }
    }

    /// Which tables were full so far, in the order of [`FULL`].
    fn lacks_room(&self) -> [bool; FULL.len()] {
        let ledger = self.collector.ledger();
        FULL.map(|(is_full, _)| is_full(ledger))
    }

    /// Says of each table that is full since `before` what it takes.
    fn note_lack_of_room(&mut self, before: [bool; FULL.len()]) {
        let lacking = self.lacks_room().into_iter().zip(before).zip(FULL);
        let news = lacking.filter(|((now, before), _)| *now && !before);
        self.notes.extend(news.map(|(_, (_, note))| note.to_owned()));
    }

    fn note_degradations(&mut self) {
        let news = self.source.take_degradations();
        self.notes.extend(news.iter().map(Degradation::to_string));
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Gives up all privileges but those that `needs` take, and says what the user should know where
/// that fails. `works` is asked whether kernel programs can be used with them.
pub(crate) fn drop_privileges(needs: Needs, works: impl FnOnce() -> bool + Send) -> Option<String> {
    let error = drop_to(needs, works).err()?;
    let degradation = Degradation {
        feature: "the least privileges".to_owned(),
        reason: error.to_string(),
        consequence: "some are kept that nothing needs".to_owned(),
    };
    Some(degradation.to_string())
}

/// Tells the user on standard error.
pub(crate) fn tell(notes: &[String]) {
    let mut stderr = io::stderr().lock();
    for note in notes {
        // Nobody is left to be told when even this cannot be written.
        let _ = writeln!(stderr, "netglass: {}", printable(note));
    }
}
