//! Where the dependency database is, and how it is opened: the same for every verb.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use netglass_store::{Access, Database, DatabaseUrl, Error, Settings};

use crate::{config::user_directory, time::parse_duration, usage::UsageError};

const SYSTEM_DATABASE: &str = "/var/lib/netglass/netglass.db";

/// Which database, for every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArguments {
    #[arg(long, global = true, env = "NETGLASS_DB", hide_env_values = true, value_name = "URL")]
    #[arg(help = "\
        Dependency database: sqlite:PATH [default: sqlite:/var/lib/netglass/netglass.db for root, \
        else sqlite:$XDG_DATA_HOME/netglass/netglass.db]")]
    #[arg(hide_default_value = true, help_heading = "Options of every verb")]
    // Understood only when it is needed: clap would show what it does not understand, with the
    // password that may be in it.
    db: Option<String>,
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
            Some(url) => url.parse().map_err(|error: Error| UsageError(error.to_string()).into()),
            None => Ok(DatabaseUrl::Sqlite(default_path()?)),
        }
    }

    /// Opens the database to read what is there.
    pub(crate) fn open_to_read(&self) -> anyhow::Result<Box<dyn Database>> {
        Ok(netglass_store::open(&self.url()?, Access::Read, Settings::default())?)
    }

    /// Opens the database to write to it; it is created where it is missing.
    pub(crate) fn open_to_write(&self, settings: Settings) -> anyhow::Result<Box<dyn Database>> {
        Ok(netglass_store::open(&self.url()?, Access::Write, settings)?)
    }
}

fn default_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM_DATABASE));
    }
    user_directory("XDG_DATA_HOME", ".local/share")
        .map(|directory| directory.join("netglass/netglass.db"))
        .context("neither XDG_DATA_HOME nor HOME says where the database is: name it with --db")
}
