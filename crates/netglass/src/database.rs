//! Where the dependency database is, and how it is opened: the same for every verb.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use netglass_store::{Access, Database, DatabaseUrl, Error, Settings};

use crate::{bytes::parse_bytes, config::user_directory, time::parse_duration, usage::UsageError};

const SYSTEM_SPOOL: &str = "/var/lib/netglass/spool";
const MIN_SPOOL_LIMIT: u64 = 1 << 20;
/// The environment variable that names the database.
pub(crate) const VARIABLE: &str = "NETGLASS_DB";

const SYSTEM_DATABASE: &str = "/var/lib/netglass/netglass.db";

/// Which database, for every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArguments {
    #[arg(long, global = true, env = VARIABLE, hide_env_values = true, value_name = "URL")]
    #[arg(help = "\
        Dependency database: sqlite:PATH or postgres://USER@HOST/DATABASE [default: \
        sqlite:/var/lib/netglass/netglass.db for root, else \
        sqlite:$XDG_DATA_HOME/netglass/netglass.db]")]
    #[arg(hide_default_value = true, help_heading = "Options of every verb")]
    // Understood only when it is needed: clap would show what it does not understand, with the
    // password that may be in it.
    db: Option<String>,

    /// File whose first line is the password for a postgres:// database; else PGPASSWORD or
    /// ~/.pgpass holds it, where the URL does not
    #[arg(long, global = true, env = "NETGLASS_DB_PASSWORD_FILE", value_name = "FILE")]
    #[arg(hide_env_values = true, help_heading = "Options of every verb")]
    db_password_file: Option<PathBuf>,
}

/// How what is written is kept, for the verbs that write.
#[derive(Debug, Clone, Args)]
pub(crate) struct StorageArguments {
    /// Length of a time bucket: what is seen of one flow within it becomes one row
    #[arg(long, env = "NETGLASS_BUCKET", value_name = "DURATION", default_value = "1m")]
    #[arg(value_parser = parse_duration)]
    bucket: Duration,

    /// How old observations are that are put together by hour
    #[arg(long, env = "NETGLASS_HOURLY_AFTER", value_name = "DURATION", default_value = "1d")]
    #[arg(value_parser = parse_duration)]
    hourly_after: Duration,

    /// How old observations are that are put together by day
    #[arg(long, env = "NETGLASS_DAILY_AFTER", value_name = "DURATION", default_value = "7d")]
    #[arg(value_parser = parse_duration)]
    daily_after: Duration,

    /// How long observations are kept
    #[arg(long, env = "NETGLASS_RETENTION", value_name = "DURATION", default_value = "30d")]
    #[arg(value_parser = parse_duration)]
    retention: Duration,

    #[arg(long, env = "NETGLASS_SPOOL_DIR", value_name = "DIRECTORY")]
    #[arg(help = "\
        Where waits what a database server cannot take yet [default: /var/lib/netglass/spool for \
        root, else $XDG_STATE_HOME/netglass/spool]")]
    spool_dir: Option<PathBuf>,

    /// Most bytes that wait there; beyond that the oldest make way
    #[arg(long, env = "NETGLASS_SPOOL_LIMIT", value_name = "BYTES", default_value = "256MiB")]
    #[arg(value_parser = parse_spool_limit)]
    spool_limit: u64,
}

/// A limit of a spool in bytes, for clap.
pub(crate) fn parse_spool_limit(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        ..MIN_SPOOL_LIMIT => Err("there must be room for 1MiB at least".to_owned()),
        limit => Ok(limit),
    }
}

impl StorageArguments {
    /// The directory that was named, or the default one of this user.
    pub(crate) fn spool_directory(&self) -> anyhow::Result<PathBuf> {
        match &self.spool_dir {
            Some(directory) => Ok(directory.clone()),
            None if rustix::process::geteuid().is_root() => Ok(PathBuf::from(SYSTEM_SPOOL)),
            None => user_directory("XDG_STATE_HOME", ".local/state")
                .map(|directory| directory.join("netglass/spool"))
                .context(
                    "neither XDG_STATE_HOME nor HOME says where the spool is: name it with \
                     --spool-dir",
                ),
        }
    }

    /// How many bytes may wait there.
    pub(crate) fn spool_limit(&self) -> u64 {
        self.spool_limit
    }

    /// Whether it takes more than this user's own rights to write to the spool, which is open.
    pub(crate) fn is_spool_foreign(&self) -> anyhow::Result<bool> {
        Ok(is_foreign(&self.spool_directory()?.join("lock")))
    }

    /// The same, as the database takes it.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            bucket: self.bucket,
            hourly_after: self.hourly_after,
            daily_after: self.daily_after,
            retention: self.retention,
        }
    }
}

impl DatabaseArguments {
    /// Whether one is named, rather than to be the default one.
    pub(crate) fn is_named(&self) -> bool {
        self.db.is_some()
    }

    /// The database that was named, or the default one of this user.
    pub(crate) fn url(&self) -> anyhow::Result<DatabaseUrl> {
        match &self.db {
            Some(url) => {
                let url = url.parse().map_err(|error: Error| UsageError(error.to_string()))?;
                Ok(match (url, &self.db_password_file) {
                    (DatabaseUrl::Postgres(url), Some(file)) => {
                        DatabaseUrl::Postgres(Box::new(url.with_password_file(file)))
                    }
                    (url, _) => url,
                })
            }
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

    /// Whether it takes more than this user's own rights to write to the database, or to make it
    /// anew where somebody removes it.
    pub(crate) fn is_foreign(&self) -> anyhow::Result<bool> {
        Ok(match self.url()? {
            DatabaseUrl::Sqlite(path) => is_foreign(&path),
            _ => false,
        })
    }
}

/// Whether it takes more than this user's own rights to write to a file, or to make it anew.
pub(crate) fn is_foreign(file: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    // Who owns it has the rights of its owner, and no others.
    let is_ours = |metadata: &Metadata, rights: u32| {
        metadata.uid() == user && metadata.mode() & rights == rights
    };
    // What cannot be looked at is none of ours.
    let Ok(path) = fs::canonicalize(file) else { return true };
    let mut directories = path.ancestors().skip(1).map(fs::metadata);
    let file = fs::metadata(&path);
    let directory = directories.next();
    !file.is_ok_and(|file| is_ours(&file, 0o600))
        || !directory.is_some_and(|it| it.is_ok_and(|directory| is_ours(&directory, 0o300)))
        // Who owns one above that can take it away, and it is made there anew. Root need not be
        // reckoned with.
        || directories.any(|it| it.is_ok_and(|above| above.uid() != user && above.uid() != 0))
}

fn default_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM_DATABASE));
    }
    user_directory("XDG_DATA_HOME", ".local/share")
        .map(|directory| directory.join("netglass/netglass.db"))
        .context("neither XDG_DATA_HOME nor HOME says where the database is: name it with --db")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_database_is_ours_where_we_may_write_to_it_and_make_it_anew() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        assert!(is_foreign(&file), "there is none");
        fs::write(&file, "").unwrap();
        assert!(!is_foreign(&file));
        set_mode(&file, 0o400);
        assert!(is_foreign(&file));
        set_mode(&file, 0o600);
        set_mode(directory.path(), 0o500);
        assert!(is_foreign(&file));
        set_mode(directory.path(), 0o700);
        assert!(!is_foreign(&file));
    }

    #[test]
    fn a_database_is_foreign_where_the_file_or_a_directory_is_another_user_s() {
        netglass_testing::require!(root);
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("directory");
        let file = directory.join("db");
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        for path in [top.path(), &directory, &file] {
            chown(path, Some(65_534), None).unwrap();
            assert!(is_foreign(&file), "{}", path.display());
            chown(path, Some(0), None).unwrap();
            assert!(!is_foreign(&file));
        }
    }
}
