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
use netglass_model::{Degradation, HostId, Lack, Ledger, Skip, Timestamp};
use netglass_store::{Claim, Database};

use self::source::Source;
pub(crate) use self::{
    arguments::ScanArguments,
    ledger::{LedgerFormat, print as print_ledger},
    schedule::{Event, RegisteredSignals, Schedule, Signals},
    trial::{Trial, TriedMode},
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::this_host_id,
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
    bucket: Duration,
    /// The time bucket in which old observations were removed last.
    pruned_in: Option<Timestamp>,
    pruning_fails: bool,
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
        database.claim(if all_namespaces {
            Claim::AllNamespaces
        } else {
            Claim::Namespace(source.own_namespace())
        })?;
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
            host: this_host_id(),
            bucket: settings.bucket,
            pruned_in: None,
            pruning_fails: false,
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
        let seen = self.collector.observations(self.host.clone(), self.source.own_namespace());
        if let Err(error) = self.database.write(&seen) {
            if !std::mem::replace(&mut self.is_database_away, true) {
                let error = anyhow::Error::new(error);
                self.notes.push(format!("{error:#}; what was seen is kept and tried again"));
            }
            return false;
        }
        self.collector.flushed();
        self.source.flushed();
        if std::mem::take(&mut self.is_database_away) {
            self.notes.push("the database is back; what had waited is stored".to_owned());
        }
        self.prune();
        true
    }

    /// Flushes for the last time. What the database does not take is lost, which is a failure.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let looked = self.source.look_before_the_end(&mut self.collector);
        self.note_degradations();
        looked.and(self.flush_or_lose())
    }

    fn flush_or_lose(&mut self) -> anyhow::Result<()> {
        if self.collector.ledger().pending == 0 || self.flush() {
            return Ok(());
        }
        let lost = self.collector.ledger().pending;
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

    /// Removes what is older than the retention, once in each time bucket.
    fn prune(&mut self) {
        let now = Timestamp::from(SystemTime::now());
        let bucket = Some(now.bucket(self.bucket));
        if self.pruned_in == bucket {
            return;
        }
        self.pruned_in = bucket;
        let failed = self.database.prune(now).err();
        let failed_before = std::mem::replace(&mut self.pruning_fails, failed.is_some());
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
