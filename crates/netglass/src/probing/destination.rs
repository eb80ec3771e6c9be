//! Where flushes go: straight to the database, or over a spool to one that may be away.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use netglass_model::{Flush, HostId, Ledger, SpoolUsage, Timestamp};
use netglass_store::{
    Access, Claim, Database, DatabaseUrl, Delivery, Error, Maintenance, Open, Settings, Spool,
};

use crate::database::{DatabaseArguments, StorageArguments};

/// A destination that is open, and starts no thread yet.
pub(crate) enum Prepared {
    /// The database is at hand.
    Direct(Box<dyn Database>),
    /// It may be away.
    Spooled {
        /// What waits for it.
        spool: Box<Spool>,
        /// Opens it to write.
        open: Open,
        /// Where it is, to read.
        url: DatabaseUrl,
    },
}

/// Where flushes go.
pub(crate) enum Destination {
    /// Straight to the database.
    Direct(Direct),
    /// Over a spool.
    Spooled(Spooled),
}

/// A database at hand.
pub(crate) struct Direct {
    database: Box<dyn Database>,
    maintenance: Maintenance,
    is_away: bool,
    notes: Vec<String>,
}

/// A database that may be away.
pub(crate) struct Spooled {
    delivery: Delivery,
    url: DatabaseUrl,
    /// A connection to read by: the other one may be busy for long.
    reader: Option<Box<dyn Database>>,
    is_stuck: bool,
    is_unreadable: bool,
    notes: Vec<String>,
}

impl Prepared {
    /// Opens what takes privileges to open.
    pub(crate) fn open(
        database: &DatabaseArguments,
        storage: &StorageArguments,
        host: &HostId,
        claim: Claim,
    ) -> anyhow::Result<Self> {
        let settings = storage.settings();
        let url = database.url()?;
        if let DatabaseUrl::Sqlite(_) = url {
            let mut database = database.open_to_write(settings)?;
            database.claim(host, claim)?;
            return Ok(Self::Direct(database));
        }
        let directory = storage.spool_directory()?;
        let spool = Box::new(Delivery::open_spool(&directory, storage.spool_limit())?);
        let open = open_and_claim(url.clone(), settings, host.clone(), claim);
        Ok(Self::Spooled { spool, open, url })
    }

    /// Begins to take flushes, with the privileges that there are.
    pub(crate) fn start(self, settings: Settings) -> anyhow::Result<Destination> {
        let maintenance = Maintenance::new(settings.bucket);
        Ok(match self {
            Self::Direct(database) => {
                let notes = Vec::new();
                Destination::Direct(Direct { database, maintenance, is_away: false, notes })
            }
            Self::Spooled { spool, open, url } => Destination::Spooled(Spooled {
                delivery: Delivery::start(*spool, open, maintenance)
                    .context("starting the thread that writes to the database")?,
                url,
                reader: None,
                is_stuck: false,
                is_unreadable: false,
                notes: Vec::new(),
            }),
        })
    }
}

fn open_and_claim(url: DatabaseUrl, settings: Settings, host: HostId, claim: Claim) -> Open {
    Box::new(move || {
        let mut database = netglass_store::open(&url, Access::Write, settings)?;
        database.claim(&host, claim)?;
        Ok(database)
    })
}

impl Destination {
    /// Whether it took the flush. If not, that is noted, and it did not take any of it.
    pub(crate) fn take(&mut self, flush: Flush) -> bool {
        match self {
            Self::Direct(direct) => direct.take(&flush),
            Self::Spooled(spooled) => spooled.take(flush),
        }
    }

    /// What waits on disk.
    pub(crate) fn usage(&self) -> SpoolUsage {
        match self {
            Self::Direct(_) => SpoolUsage::default(),
            Self::Spooled(spooled) => spooled.delivery.usage(),
        }
    }

    /// Corrects a ledger in which all that was taken counts as stored.
    pub(crate) fn settle(&self, ledger: &mut Ledger) {
        if let Self::Spooled(spooled) = self {
            spooled.delivery.settle(ledger);
        }
    }

    /// Reads what was stored; none where the database is away, which is noted.
    pub(crate) fn read<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Database) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self {
            Self::Direct(direct) => ask(direct.database.as_mut()).map(Some),
            Self::Spooled(spooled) => Ok(spooled.read(ask)),
        }
    }

    /// Does what can still be done within `patience` for what was taken.
    pub(crate) fn finish(&mut self, patience: Duration) {
        let Self::Spooled(Spooled { delivery, notes, .. }) = self else { return };
        let left = delivery.finish(patience);
        notes.extend(delivery.take_notes());
        if left.flushes > 0 {
            let (flushes, bytes) = (left.flushes, left.bytes);
            notes.push(format!(
                "{flushes} flushes ({bytes} bytes) wait in the spool: the next probe delivers them"
            ));
        }
    }

    /// What the user should know and was not told yet.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        match self {
            Self::Direct(direct) => std::mem::take(&mut direct.notes),
            Self::Spooled(Spooled { delivery, notes, .. }) => {
                let mut all = std::mem::take(notes);
                all.extend(delivery.take_notes());
                all
            }
        }
    }
}

impl Direct {
    fn take(&mut self, flush: &Flush) -> bool {
        if let Err(error) = self.database.write(flush) {
            if !std::mem::replace(&mut self.is_away, true) {
                self.notes.push(format!("{error}; what was seen is kept and tried again"));
            }
            return false;
        }
        if std::mem::take(&mut self.is_away) {
            self.notes.push("the database is back; what had waited is stored".to_owned());
        }
        let now = Timestamp::from(SystemTime::now());
        if let Err(error) = self.maintenance.after_write(self.database.as_mut(), now) {
            self.notes.push(format!("{error}; what is older than the retention is still there"));
        }
        true
    }
}

impl Spooled {
    fn take(&mut self, flush: Flush) -> bool {
        if let Err(error) = self.delivery.submit(flush) {
            if !std::mem::replace(&mut self.is_stuck, true) {
                self.notes.push(format!("{error}; what was seen is kept and tried again"));
            }
            return false;
        }
        if std::mem::take(&mut self.is_stuck) {
            self.notes.push("the spool takes what was seen again".to_owned());
        }
        true
    }

    fn read<T>(&mut self, ask: impl FnOnce(&mut dyn Database) -> Result<T, Error>) -> Option<T> {
        match self.reader().and_then(ask) {
            Ok(answer) => {
                self.is_unreadable = false;
                Some(answer)
            }
            Err(error) => {
                self.reader = None;
                if !std::mem::replace(&mut self.is_unreadable, true) {
                    let note = format!("{error}; the map stays as it is until it can be read");
                    self.notes.push(note);
                }
                None
            }
        }
    }

    fn reader(&mut self) -> Result<&mut dyn Database, Error> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                none.insert(netglass_store::open(&self.url, Access::Read, Settings::default())?)
            }
        };
        Ok(reader.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::chown, path::Path, thread};

    use clap::Parser as _;
    use netglass_kernel::Needs;
    use netglass_model::{Host, NamespaceInode, Observations};

    use super::*;

    fn flush() -> Flush {
        let id = HostId { machine_id: "0".repeat(32), hostname: "host".to_owned() };
        let mut flush = netglass_testing::flush(&Observations {
            host: Host { id, namespace: NamespaceInode(1), addresses: Vec::new() },
            namespaces: Vec::new(),
            flows: Vec::new(),
            listeners: Vec::new(),
            translations: Vec::new(),
        });
        flush.ledger.pend(3);
        flush
    }

    /// Over a spool to a database in the same directory.
    fn spooled(directory: &Path) -> Destination {
        let url = DatabaseUrl::sqlite(directory.join("netglass.db"));
        let host = flush().observations.host.id;
        let open = open_and_claim(url.clone(), Settings::default(), host, Claim::AllNamespaces);
        let spool = Delivery::open_spool(&directory.join("spool"), 1 << 20).unwrap();
        let spool = Box::new(spool);
        Prepared::Spooled { spool, open, url }.start(Settings::default()).unwrap()
    }

    #[test]
    fn a_probe_may_start_while_the_database_is_away() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("netglass.db");
        fs::create_dir(&database).unwrap();
        let mut destination = spooled(directory.path());
        assert!(destination.take(flush()));
        assert_eq!(destination.usage().flushes, 1);
        assert!(destination.read(|database| database.probes()).unwrap().is_none());
        assert!(destination.read(|database| database.probes()).unwrap().is_none());
        let notes = destination.take_notes();
        let unread =
            notes.iter().filter(|it| it.ends_with("the map stays as it is until it can be read"));
        assert_eq!(unread.count(), 1, "{notes:?}");

        fs::remove_dir(&database).unwrap();
        destination.finish(Duration::from_secs(60));
        assert_eq!(destination.usage().flushes, 0);
        assert!(destination.read(|database| database.probes()).unwrap().is_some());
        let mut ledger = flush().ledger;
        ledger.flushed();
        destination.settle(&mut ledger);
        assert_eq!((ledger.stored, ledger.spooled), (3, 0));
    }

    #[test]
    fn what_is_not_delivered_before_the_end_is_told_and_waits() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("netglass.db")).unwrap();
        let mut destination = spooled(directory.path());
        assert!(destination.take(flush()));
        destination.finish(Duration::from_millis(10));
        let notes = destination.take_notes();
        let last = notes.last().unwrap();
        assert!(last.ends_with("wait in the spool: the next probe delivers them"), "{notes:?}");
        let mut ledger = flush().ledger;
        ledger.flushed();
        destination.settle(&mut ledger);
        assert_eq!((ledger.stored, ledger.spooled), (0, 3));
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        storage: StorageArguments,
    }

    #[test]
    fn a_spool_in_another_user_s_directory_is_used_with_what_privileges_are_kept() {
        netglass_testing::require!(root);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool");
        fs::create_dir(&path).unwrap();
        chown(&path, Some(65_534), None).unwrap();
        let storage = Line::parse_from(["netglass", "--spool-dir", path.to_str().unwrap()]).storage;
        let use_it = || {
            let mut spool =
                Delivery::open_spool(&storage.spool_directory().unwrap(), 1 << 20).unwrap();
            assert!(storage.is_spool_foreign().unwrap());
            let needs = Needs { foreign_files: true, ..Needs::default() };
            assert_eq!(crate::probing::drop_privileges(needs, || true, || true), None);
            spool.append(b"needs a new file", 1).unwrap();
            assert!(spool.oldest().unwrap().is_some());
            spool.acknowledge().unwrap();
        };
        // Privileges are a thread's own: this one takes the loss with it.
        thread::scope(|scope| scope.spawn(use_it).join().unwrap());
    }
}
