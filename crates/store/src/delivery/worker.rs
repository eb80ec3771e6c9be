//! The thread that delivers.

use std::{mem::Discriminant, sync::Arc, time::SystemTime};

use netglass_model::{Flush, Timestamp};

use super::{End, Open, Shared, backoff::Backoff, encoding};
use crate::{Database, Error, Maintenance, Record};

/// The thread that delivers: it alone waits for the database.
pub(super) struct Worker {
    shared: Arc<Shared>,
    open: Open,
    /// Open unless something failed with it: then it may be anything.
    database: Option<Box<dyn Database>>,
    maintenance: Maintenance,
    backoff: Backoff,
    /// What failed last, until something went well.
    failure: Option<Discriminant<Error>>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        open: Open,
        maintenance: Maintenance,
        backoff: Backoff,
    ) -> Self {
        Self { shared, open, database: None, maintenance, backoff, failure: None }
    }

    /// Delivers until the end.
    pub(super) fn run(mut self) {
        while let Some(record) = self.shared.next() {
            self.deliver(record);
        }
        let mut state = self.shared.state();
        state.end = End::Reached;
        self.shared.changed.notify_all();
    }

    fn deliver(&mut self, Record { content, payload, .. }: Record) {
        let flush = match encoding::decode(content, &payload) {
            Ok(flush) => flush,
            Err(reason) => return self.shared.state().discard(&reason),
        };
        drop(payload);
        while let Err(error) = self.write(&flush) {
            self.database = None;
            let wait = self.backoff.after_failure(error.is_lasting());
            self.tell(&error);
            if self.shared.pause(wait) {
                // There is not much time left.
                self.backoff.reset();
            }
            if self.shared.state().has_ended() {
                return;
            }
        }
        self.backoff.reset();
        let is_back = self.failure.take().is_some();
        let mut state = self.shared.state();
        state.delivered();
        if is_back {
            state.note("the database is back; what had waited is delivered".to_owned());
        }
        drop(state);
        self.maintain();
    }

    fn write(&mut self, flush: &Flush) -> Result<(), Error> {
        let database = match &mut self.database {
            Some(database) => database,
            none => none.insert((self.open)()?),
        };
        database.write(flush)
    }

    fn maintain(&mut self) {
        let Some(database) = &mut self.database else { return };
        let now = Timestamp::from(SystemTime::now());
        if let Err(error) = self.maintenance.after_write(database.as_mut(), now) {
            let note = format!("{error}; what is older than the retention is still there");
            self.shared.state().note(note);
        }
    }

    /// Says what failed, unless that has failed already.
    fn tell(&mut self, error: &Error) {
        let kind = std::mem::discriminant(error);
        if self.failure.replace(kind) != Some(kind) {
            self.shared.state().note(format!("{error}; what was seen waits in the spool"));
        }
    }
}
