//! Where the dependency database is, and how it is opened: the same for every verb.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use netglass_store::{Access, Database, DatabaseUrl, Settings};

use crate::{config::user_directory, time::parse_duration};

const SYSTEM_DATABASE: &str = "/var/lib/netglass/netglass.db";

/// Which database, for every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArguments {
    /// Dependency database: sqlite:PATH [default: sqlite:/var/lib/netglass/netglass.db for root,
    /// else sqlite:$XDG_DATA_HOME/netglass/netglass.db]
    #[arg(long, global = true, env = "NETGLASS_DB", hide_env_values = true, value_name = "URL")]
    #[arg(value_parser = parse_url, help_heading = "Options of every verb")]
    db: Option<DatabaseUrl>,
}

/// How what is written is kept, for the verbs that write.
#[derive(Debug, Clone, Args)]
pub(crate) struct StorageArguments {
    /// Length of a time bucket: what is seen of one flow within it becomes one row
    #[arg(long, env = "NETGLASS_BUCKET", value_name = "DURATION", default_value = "1m")]
    #[arg(value_parser = parse_duration)]
    bucket: Duration,

    /// How long observations are kept
    #[arg(long, env = "NETGLASS_RETENTION", value_name = "DURATION", default_value = "7d")]
    #[arg(value_parser = parse_duration)]
    retention: Duration,
}

impl StorageArguments {
    /// The same, as the database takes it.
    pub(crate) fn settings(&self) -> Settings {
        Settings { bucket: self.bucket, retention: self.retention }
    }
}

impl DatabaseArguments {
    /// The database that was named, or the default one of this user.
    pub(crate) fn url(&self) -> anyhow::Result<DatabaseUrl> {
        match &self.db {
            Some(url) => Ok(url.clone()),
            None => Ok(DatabaseUrl::Sqlite(default_path()?)),
        }
    }

    /// Opens the database to read what is there.
    pub(crate) fn open_to_read(&self) -> anyhow::Result<Box<dyn Database>> {
        let url = self.url()?;
        if let DatabaseUrl::Sqlite(path) = &url
            && matches!(path.try_exists(), Ok(false))
        {
            anyhow::bail!(
                "there is no database at {url}; run `netglass probe` or `netglass up` to fill one, \
                 or name another with --db"
            );
        }
        netglass_store::open(&url, Access::Read, Settings::default())
            .with_context(|| format!("opening the database {url}"))
    }

    /// Opens the database to write to it; it is created where it is missing.
    pub(crate) fn open_to_write(&self, settings: Settings) -> anyhow::Result<Box<dyn Database>> {
        let url = self.url()?;
        if self.db.is_none()
            && let DatabaseUrl::Sqlite(path) = &url
            && let Some(directory) = path.parent()
        {
            create_directory(directory)?;
        }
        netglass_store::open(&url, Access::Write, settings)
            .with_context(|| format!("opening the database {url}"))
    }
}

fn parse_url(text: &str) -> Result<DatabaseUrl, String> {
    text.parse().map_err(|error: netglass_store::Error| format!("{:#}", anyhow::Error::new(error)))
}

fn default_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM_DATABASE));
    }
    user_directory("XDG_DATA_HOME", ".local/share")
        .map(|directory| directory.join("netglass/netglass.db"))
        .context("neither XDG_DATA_HOME nor HOME says where the database is: name it with --db")
}

/// Makes the directory of the default database, for this user's eyes only: who talks to whom is
/// nobody else's business.
fn create_directory(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("creating the directory {}", directory.display()))
}
