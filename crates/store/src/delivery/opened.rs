//! A database that is opened when it is needed.

use std::time::SystemTime;

use netglass_model::Timestamp;

use crate::{Database, Error, Maintenance};

/// Opens a database to write.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Database>, Error> + Send>;

/// A database that is opened when it is needed, and anew after something failed with it.
pub(crate) struct Opened {
    open: Open,
    /// Open unless something failed with it: then it may be anything.
    database: Option<Box<dyn Database>>,
    maintenance: Maintenance,
}

impl Opened {
    pub(crate) const fn new(open: Open, maintenance: Maintenance) -> Self {
        Self { open, database: None, maintenance }
    }

    /// Does `work` on the database.
    pub(crate) fn write(
        &mut self,
        work: impl FnOnce(&mut dyn Database) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let database = match &mut self.database {
            Some(database) => database,
            none => none.insert((self.open)()?),
        };
        work(database.as_mut()).inspect_err(|_| self.database = None)
    }

    /// Has it maintained where that is due, and it is open.
    pub(crate) fn maintain(&mut self) -> Result<(), Error> {
        let Some(database) = &mut self.database else { return Ok(()) };
        let now = Timestamp::from(SystemTime::now());
        self.maintenance.after_write(database.as_mut(), now)
    }
}
