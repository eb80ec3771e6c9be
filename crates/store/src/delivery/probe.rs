//! From a probe to a database.

#[cfg(test)]
mod tests;

use std::{io, path::Path, time::Duration};

use netglass_model::{Flush, Ledger, Skip, SpoolUsage};

use super::{
    Carrier,
    backoff::Backoff,
    encoding,
    opened::{Open, Opened},
    parcel::{Failure, Parcel, Recipient, Words},
    queue::Queue,
};
use crate::{Error, Maintenance, Spool, SpoolError};

impl Parcel for Flush {
    const CONTENT: u16 = encoding::VERSION;
    const WORDS: Words =
        Words { one: "a flush", many: "flushes", unit: "sightings", contents: "what was seen" };

    /// Its sightings are those that are pending in its ledger.
    fn count(&self) -> u64 {
        self.ledger.pending
    }

    fn encode(self) -> io::Result<Vec<u8>> {
        encoding::encode(self)
    }

    fn decode(content: u16, bytes: &[u8]) -> io::Result<Self> {
        encoding::decode(content, bytes)
    }
}

impl Failure for Error {
    fn is_lasting(&self) -> bool {
        self.is_lasting()
    }

    /// A database may be mended.
    fn is_final(&self) -> bool {
        false
    }
}

impl Recipient<Flush> for Opened {
    type Error = Error;

    fn take(&mut self, flush: &Flush) -> Result<(), Error> {
        self.write(|database| database.write(flush))
    }

    fn tend(&mut self) -> Option<String> {
        let error = self.maintain().err()?;
        Some(format!("{error}; what is older than the retention is still there"))
    }
}

/// Delivers flushes to a database that may be away, slow or full.
///
/// A flush that was submitted is on disk. A thread delivers what waits there, in order and for as
/// long as it takes; what an earlier run has left comes first. Since a database takes each flush
/// once however often it is sent, each arrives exactly once.
#[derive(Debug)]
pub struct Delivery {
    carrier: Carrier<Flush>,
}

impl Delivery {
    /// Opens the spool in `directory`, which takes `limit` bytes at most, for [`Delivery::start`].
    pub fn open_spool(directory: &Path, limit: u64) -> Result<Spool, SpoolError> {
        Spool::open(directory, limit, Flush::CONTENT)
    }

    /// Starts the thread, with the privileges of the one that calls. `open` opens the database and
    /// claims there what the probe writes.
    pub fn start(spool: Spool, open: Open, maintenance: Maintenance) -> io::Result<Self> {
        let backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(30));
        Self::start_with(spool, open, maintenance, backoff)
    }

    pub(super) fn start_with(
        spool: Spool,
        open: Open,
        maintenance: Maintenance,
        backoff: Backoff,
    ) -> io::Result<Self> {
        let database = Opened::new(open, maintenance);
        let queue = Queue::Disk(spool);
        let carrier = Carrier::start(queue, database, "the database".to_owned(), backoff)?;
        Ok(Self { carrier })
    }

    /// Takes a flush: when this returns it is on disk, and will be delivered. On an error it was not
    /// taken. Its sightings are those that are pending in its ledger.
    ///
    /// This waits for the disk, and never for the database.
    pub fn submit(&self, flush: Flush) -> Result<(), SpoolError> {
        self.carrier.submit(flush)
    }

    /// What waits.
    #[must_use]
    pub fn usage(&self) -> SpoolUsage {
        self.carrier.usage()
    }

    /// Corrects a ledger in which all that was submitted counts as stored: by what waits still, and
    /// by what was lost.
    pub fn settle(&self, ledger: &mut Ledger) {
        let account = self.carrier.account();
        ledger.unstore(account.waiting);
        for (reason, loss) in
            [(Skip::SpoolFull, account.losses.full), (Skip::SpoolDamaged, account.losses.damaged)]
        {
            ledger.lose(reason, loss.sightings);
            // The ledger of the run that saw it says that it waits.
            ledger.skip(reason, loss.inherited);
        }
    }

    /// What the user should know and was not told yet.
    #[must_use]
    pub fn take_notes(&self) -> Vec<String> {
        self.carrier.take_notes()
    }

    /// Delivers what waits, for `patience` at most; what is left then waits for the next run.
    /// Returns what that is.
    #[expect(clippy::must_use_candidate, reason = "what is left need not concern whoever ends")]
    pub fn finish(&self, patience: Duration) -> SpoolUsage {
        self.carrier.finish(patience)
    }
}
