//! Probing this host: scans at an interval, flushes to the database, the ledger at the end. The
//! same for `probe` and `up`.

mod arguments;
mod ledger;
mod schedule;

use std::{
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use netglass_kernel::{Collector, Needs, Scanner, Sightings, drop_to};
use netglass_model::{Degradation, HostId, Ledger, Skip, Timestamp};
use netglass_store::{Claim, Database};

pub(crate) use self::{
    arguments::ScanArguments,
    ledger::{LedgerFormat, print as print_ledger},
    schedule::{Event, RegisteredSignals, Schedule, Signals},
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::this_host_id,
    text::printable,
};

/// Scans this host and flushes what it saw to a database.
pub(crate) struct Prober {
    scanner: Scanner,
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
        let (options, limits) = (arguments.options(), arguments.limits());
        let scanner =
            Scanner::new(options, sightings, limits).context("getting ready to scan sockets")?;
        database.claim(if options.all_namespaces {
            Claim::AllNamespaces
        } else {
            Claim::Namespace(scanner.own_namespace())
        })?;
        let needs = Needs {
            processes: true,
            all_namespaces: options.all_namespaces,
            foreign_files: database_arguments.is_foreign()?,
        };
        let dropped = drop_privileges(needs, || scanner.is_usable());
        let mut prober = Self {
            scanner,
            collector: Collector::new(limits),
            database,
            host: this_host_id(),
            bucket: settings.bucket,
            pruned_in: None,
            pruning_fails: false,
            is_database_away: false,
            notes: dropped.into_iter().collect(),
        };
        prober.note_degradations();
        Ok(prober)
    }

    /// Looks at all sockets once.
    pub(crate) fn scan(&mut self) -> anyhow::Result<()> {
        let had_room = self.has_room();
        self.scanner.scan(&mut self.collector).context("scanning sockets")?;
        if had_room && !self.has_room() {
            self.notes.push(
                "there are more flows, listeners, processes or sockets than there is room for, and \
                 the rest is skipped; raise --max-flows or --max-sockets"
                    .to_owned(),
            );
        }
        self.note_degradations();
        Ok(())
    }

    /// Writes what was seen since the last flush. Where the database cannot take it, it is kept for
    /// the next flush, and that is noted; whether it went well is returned.
    pub(crate) fn flush(&mut self) -> bool {
        let seen = self.collector.observations(self.host.clone(), self.scanner.own_namespace());
        if let Err(error) = self.database.write(&seen) {
            if !std::mem::replace(&mut self.is_database_away, true) {
                let error = anyhow::Error::new(error);
                self.notes.push(format!("{error:#}; what was seen is kept and tried again"));
            }
            return false;
        }
        self.collector.flushed();
        self.scanner.flushed();
        if std::mem::take(&mut self.is_database_away) {
            self.notes.push("the database is back; what had waited is stored".to_owned());
        }
        self.prune();
        true
    }

    /// Flushes for the last time. What the database does not take is lost, which is a failure.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
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

    /// Whether nothing was skipped for lack of room so far.
    fn has_room(&self) -> bool {
        !self.collector.ledger().skipped.contains_key(&Skip::TableFull)
    }

    fn note_degradations(&mut self) {
        let news = self.scanner.take_degradations();
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
