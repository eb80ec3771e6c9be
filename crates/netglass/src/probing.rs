//! Probing this host: scans at an interval, flushes to the database, the ledger at the end. The
//! same for `probe` and `up`.

mod arguments;
mod destination;
mod ledger;
mod schedule;
mod source;
mod trial;

use std::{
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use netglass_kernel::{Collector, Needs, Sightings, Translations, drop_to};
use netglass_model::{
    Degradation, Flush, HostId, Lack, Ledger, Probe, ProbeId, Skip, Timestamp, printable,
};
use netglass_store::{Claim, Database, Error};

use self::source::Source;
pub(crate) use self::{
    arguments::ScanArguments,
    destination::{Destination, Prepared},
    ledger::{LedgerFormat, LedgerObject, print as print_ledger},
    schedule::{Event, RegisteredSignals, Schedule, Signals},
    trial::{Trial, TriedMode},
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::{boot_id, this_host_id},
};

/// How long the end waits for a database that is away, where what it does not take is on disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether something is full, as the ledger tells it.
type IsFull = fn(&Ledger) -> bool;

/// What can be full, and what is said then.
const FULL: [(IsFull, &str); 4] = [
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
    (
        |ledger| ledger.lacking.contains_key(&Lack::TranslationTableFull),
        "there are more connections whose addresses are translated than there is room for, and the \
         rest is shown as two, one of each side; raise --max-flows or --max-sockets",
    ),
];

/// Looks at the sockets of this host and flushes what it saw to a database.
pub(crate) struct Prober {
    source: Source,
    translations: Translations,
    collector: Collector,
    destination: Destination,
    host: HostId,
    probe: Probe,
    /// How many flushes the destination has taken.
    flushes: u64,
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
        let (source, degradation) = Source::open(arguments, sightings)?;
        let selection = arguments.selection();
        let translations = Translations::new(selection, sightings, arguments.limits())
            .context("getting ready to follow translated connections")?;
        let all_namespaces = selection.all_namespaces;
        let host = this_host_id();
        let claim = if all_namespaces {
            Claim::AllNamespaces
        } else {
            Claim::Namespace(source.own_namespace())
        };
        let prepared = Prepared::open(database_arguments, storage, &host, claim)?;
        let needs = Needs {
            processes: true,
            all_namespaces,
            packets: false,
            attaching: false,
            foreign_files: match &prepared {
                Prepared::Direct(_) => database_arguments.is_foreign()?,
                Prepared::Spooled { .. } => storage.is_spool_foreign()?,
            },
        };
        let dropped = drop_privileges(needs, source.trial(), Translations::is_usable);
        let destination = prepared.start(storage.settings())?;
        let mut prober = Self {
            source,
            translations,
            collector: Collector::new(arguments.limits()),
            destination,
            host,
            probe: Probe {
                id: ProbeId::new(),
                boot_id: boot_id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: now(),
            },
            flushes: 0,
            notes: degradation.iter().map(Degradation::to_string).chain(dropped).collect(),
        };
        prober.note_degradations();
        Ok(prober)
    }

    /// Looks at what sockets do.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let told = self.lacks_room();
        self.source.look(&mut self.collector)?;
        self.translations.look(&mut self.collector);
        self.note_lack_of_room(told);
        self.note_degradations();
        Ok(())
    }

    /// Hands over what was seen since the last flush. Where it is not taken, it is kept for the next
    /// flush, and that is noted; whether it went well is returned.
    pub(crate) fn flush(&mut self) -> bool {
        self.flush_as(false)
    }

    fn flush_as(&mut self, last: bool) -> bool {
        let flush = Flush {
            probe: self.probe.clone(),
            sequence: self.flushes + 1,
            at: now(),
            last,
            ledger: self.ledger(),
            spool: self.destination.usage(),
            observations: self
                .collector
                .observations(self.host.clone(), self.source.own_namespace()),
        };
        let is_taken = self.destination.take(flush);
        if is_taken {
            self.flushes += 1;
            self.collector.flushed();
            self.source.flushed();
        }
        is_taken
    }

    /// Flushes for the last time. What is not taken is lost, which is a failure.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let told = self.lacks_room();
        let looked = self.source.look_before_the_end(&mut self.collector);
        self.translations.look(&mut self.collector);
        self.note_lack_of_room(told);
        self.note_degradations();
        let flushed = self.flush_or_lose();
        self.destination.finish(PATIENCE);
        looked.and(flushed)
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
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = self.collector.ledger().clone();
        self.destination.settle(&mut ledger);
        ledger
    }

    /// Reads what was stored; none where the database is away, which is noted.
    pub(crate) fn read<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Database) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.destination.read(ask)
    }

    /// What the user should know and was not told yet.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.destination.take_notes());
        notes
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
        let mut news = self.source.take_degradations();
        news.extend(self.translations.take_degradations());
        self.notes.extend(news.iter().map(Degradation::to_string));
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Gives up all privileges but those that `needs` take, and says what the user should know where
/// that fails. `works` is asked whether kernel programs can be used with them, `translates` whether
/// tracked connections can be asked for.
pub(crate) fn drop_privileges(
    needs: Needs,
    works: impl FnOnce() -> bool + Send,
    translates: impl FnOnce() -> bool + Send,
) -> Option<String> {
    let error = drop_to(needs, works, translates).err()?;
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
