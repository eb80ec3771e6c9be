//! The databases that a fleet is written to.

use anyhow::{Result, bail};
use netglass_store::DatabaseUrl;
use netglass_testing::{PostgreSql, requirement};
use tempfile::TempDir;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    PostgreSql,
    Sqlite,
}

impl Backend {
    /// Its name in that of a bench.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }

    /// How many hosts are simulated.
    pub(crate) fn hosts(self) -> u64 {
        match self {
            Self::PostgreSql => 1_000,
            Self::Sqlite => 100,
        }
    }

    /// How many observations there are when somebody looks.
    pub(crate) fn observations(self) -> u64 {
        self.hosts() * 10_000
    }

    /// How many flows a second it is to take.
    pub(crate) fn flows_a_second(self) -> u64 {
        self.hosts() * 100
    }

    /// How many write at once, of `many`: a file takes one writer at a time.
    pub(crate) fn writers(self, many: u32) -> u32 {
        match self {
            Self::PostgreSql => many,
            Self::Sqlite => 1,
        }
    }
}

/// A database of one bench, removed at its end.
#[derive(Debug)]
pub(crate) enum FleetDatabase {
    PostgreSql(PostgreSql),
    Sqlite(TempDir),
}

impl FleetDatabase {
    /// An empty one. The server has the settings of its package, and writes its log to the disk
    /// before it says that something is stored.
    pub(crate) fn new(backend: Backend) -> Result<Self> {
        Ok(match backend {
            Backend::PostgreSql => {
                let requirement = requirement::postgresql();
                if let Some(missing) = requirement.missing() {
                    bail!("it needs {missing}");
                }
                let server = PostgreSql::new().durable().start();
                server.create_database("fleet");
                Self::PostgreSql(server)
            }
            Backend::Sqlite => Self::Sqlite(tempfile::tempdir()?),
        })
    }

    /// Has a server do at once what it does by itself within minutes after much was written: until
    /// then it is the writing that is measured.
    pub(crate) fn settle(&self) {
        if let Self::PostgreSql(server) = self {
            for work in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
                server.sql("fleet", work);
            }
        }
    }

    /// Its URL, as it is given to `--db`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::PostgreSql(server) => server.url("fleet"),
            Self::Sqlite(directory) => format!("sqlite:{}/fleet.db", directory.path().display()),
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> Result<DatabaseUrl> {
        Ok(self.text().parse()?)
    }
}
