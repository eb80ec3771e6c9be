//! The database as one `SQLite` file.
//!
//! The file runs with a write-ahead log, so that one may write while others read.

mod claim;
mod codec;
mod connect;
mod counters;
mod fault;
mod files;
mod flow_log;
mod migration;
mod observation;
mod probe;
mod prune;
mod read;
mod resolution;
mod select;
mod snapshot;
mod write;

use std::{
    path::{self, Path, PathBuf},
    time::Duration,
};

use netglass_model::{Flush, HostId, ProbeStatus, Timestamp};
use rusqlite::Connection;

use self::{
    claim::Claimed,
    connect::{Connected, Options},
    fault::Fault,
    files::Identity,
    snapshot::SqliteSnapshot,
};
use crate::{
    Access, Claim, Database, DatabaseUrl, Error, Settings, Snapshot, Window, flow_log::FlowBatch,
};

/// Longer than any transaction of ours, short enough to be told before the next flush.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    url: DatabaseUrl,
    path: PathBuf,
    options: Options,
    settings: Settings,
    identity: Identity,
    connected: Connected,
    claimed: Option<Claimed>,
}

impl Sqlite {
    /// Opens the database file at `path`.
    pub(crate) fn open(path: &Path, access: Access, settings: Settings) -> Result<Self, Error> {
        Self::open_with(
            path,
            settings,
            Options { access, patience: PATIENCE, steps: migration::STEPS },
        )
    }

    fn open_with(path: &Path, settings: Settings, options: Options) -> Result<Self, Error> {
        let url = DatabaseUrl::sqlite(path);
        let action = match options.access {
            Access::Read => "read the database",
            Access::Write => "open for writing the database",
        };
        // A later change of the working directory must not change which file this is. It also
        // takes the special meaning from names such as `:memory:`.
        let open = path::absolute(path).map_err(Fault::from).and_then(|path| {
            let connected = connect::connect(&path, &options)?;
            let identity = Identity::of(&path)?;
            Ok((path, identity, connected))
        });
        match open {
            Ok((path, identity, connected)) => {
                Ok(Self { url, path, options, settings, identity, connected, claimed: None })
            }
            Err(fault) => Err(fault.into_error(action, &url)),
        }
    }

    /// Does `work` on a connection that leads to the file which is at the path now.
    ///
    /// Who removes or replaces the file would otherwise leave us writing to, or reading from, one
    /// that nobody else can see.
    fn with<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&mut Connection, &Settings) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let attempt = || {
            let moved = Identity::of(&self.path).ok() != Some(self.identity);
            if moved || self.connected.immutable {
                self.connected = connect::connect(&self.path, &self.options)?;
                self.identity = Identity::of(&self.path)?;
            }
            work(&mut self.connected.connection, &self.settings)
        };
        attempt().map_err(|fault| fault.into_error(action, &self.url))
    }

    fn with_write_access<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&mut Connection, &Settings) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        match self.options.access {
            Access::Write => self.with(action, work),
            Access::Read => Err(Fault::ReadOnly("it was opened for reading only".to_owned())
                .into_error(action, &self.url)),
        }
    }
}

impl Database for Sqlite {
    fn claim(&mut self, _host: &HostId, claim: Claim) -> Result<(), Error> {
        let claimed = claim::claim(&self.path, claim)
            .map_err(|fault| fault.into_error("probe into the database", &self.url))?;
        self.claimed = Some(claimed);
        Ok(())
    }

    fn write(&mut self, flush: &Flush) -> Result<(), Error> {
        self.with_write_access("write observations to the database", |connection, settings| {
            write::write(connection, settings.bucket, flush)
        })
    }

    fn log_flows(&mut self, host: &HostId, batch: &FlowBatch) -> Result<(), Error> {
        self.with_write_access("write flow records to the database", |connection, _| {
            flow_log::write(connection, host, batch)
        })
    }

    fn maintain(&mut self, now: Timestamp) -> Result<u64, Error> {
        self.with_write_access(
            "remove old observations from the database",
            |connection, settings| prune::maintain(connection, settings, now),
        )
    }

    fn maintain_flow_log(&mut self, now: Timestamp) -> Result<(), Error> {
        self.with_write_access(
            "remove old flow records from the database",
            |connection, settings| prune::maintain_flow_log(connection, settings, now),
        )
    }

    fn probes(&mut self) -> Result<Vec<ProbeStatus>, Error> {
        self.with("read probes from the database", |connection, _| probe::read(connection))
    }

    fn snapshot(&mut self, window: Window) -> Result<Box<dyn Snapshot + '_>, Error> {
        const ACTION: &str = "read the database";
        self.with(ACTION, |_, _| Ok(()))?;
        let Self { connected, url, .. } = self;
        match connected.connection.transaction() {
            Ok(transaction) => Ok(Box::new(SqliteSnapshot { transaction, window, url })),
            Err(error) => Err(Fault::from(error).into_error(ACTION, url)),
        }
    }
}

#[cfg(test)]
mod tests;
