//! What can go wrong with a database.

use crate::DatabaseUrl;

/// What can go wrong with a database: what was being done, on which one, why it failed, and what
/// to try. None of it ever holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names a kind of database that nobody here knows.
    #[error(
        "cannot use the database URL {url}: its scheme is not known; write sqlite:PATH, ./PATH for a \
         file whose name holds a colon, or postgres://USER@HOST/DATABASE"
    )]
    UnknownScheme {
        /// The URL without its password.
        url: String,
    },

    /// The URL names no database.
    #[error("cannot use the database URL {url}: {reason}")]
    InvalidUrl {
        /// The URL without its password.
        url: String,
        /// What is wrong with it, and what to write instead.
        reason: &'static str,
    },

    /// There is nothing to read.
    #[error(
        "cannot {action} {database}: there is no such file; run `netglass probe` or `netglass up` \
         first, or name another one with --db"
    )]
    Missing {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// The path is a directory.
    #[error("cannot {action} {database}: it is a directory; name a file in it")]
    Directory {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// The path is a device, a pipe or a socket.
    #[error("cannot {action} {database}: it is not a regular file; name another path")]
    NotRegular {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// The file is no `SQLite` database, or a damaged one.
    #[error(
        "cannot {action} {database}: it is not a SQLite database, or a damaged one ({reason}); \
         restore a copy, or move it away and a new one will be made"
    )]
    Corrupt {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// What was found.
        reason: String,
    },

    /// The file is the database of another program. It was not touched.
    #[error(
        "cannot {action} {database}: it is a SQLite database of another program, and was left \
         untouched; name another path"
    )]
    Foreign {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// The schema is of a newer Netglass. It was not touched.
    #[error(
        "cannot {action} {database}: its schema has version {found}, and this netglass knows \
         version {known} at most; it was left untouched; use the newer netglass, or another path"
    )]
    NewerSchema {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// The version of its schema.
        found: u32,
        /// The newest version known here.
        known: u32,
    },

    /// The schema is of an older Netglass, and reading does not migrate.
    #[error(
        "cannot {action} {database}: its schema has version {found}, and this netglass needs \
         version {known}; run `netglass create-scheme` to bring it up to date"
    )]
    OlderSchema {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// The version of its schema; 0 where it has none yet.
        found: u32,
        /// The version needed here.
        known: u32,
    },

    /// The database may not be written.
    #[error(
        "cannot {action} {database}: it may not be written ({reason}); check the owner and \
         permissions of the file and its directory, or name another path"
    )]
    ReadOnly {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the system said it.
        reason: String,
    },

    /// There is no space left. The database is as it was before.
    #[error(
        "cannot {action} {database}: no space is left for it; make room, or keep less with a \
         shorter retention"
    )]
    Full {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// Another process held the database for too long. The database is as it was before.
    #[error(
        "cannot {action} {database}: another process has kept it locked for too long; try again, \
         and see who holds it with `fuser PATH`"
    )]
    Locked {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// Another probe of this host writes what this one would. Nothing was written.
    #[error(
        "cannot {action} {database}: another probe of this host writes there, and with two each \
         connection would count twice; stop it, or name another path"
    )]
    Claimed {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// The system does not let us at the file, or fails to read or write it.
    #[error(
        "cannot {action} {database}: {reason}; check the disk, and the permissions of the file \
         and its directory"
    )]
    Inaccessible {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the system said it.
        reason: String,
    },

    /// The server cannot be reached, or does not answer. What was being done may have been done;
    /// doing it again does no harm.
    #[error(
        "cannot {action} {database}: {reason}; check that the server runs, and that host and port \
         are right"
    )]
    Unreachable {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the server or the system said it.
        reason: String,
    },

    /// The server does not let this user in, or not do this.
    #[error(
        "cannot {action} {database}: the server refuses it: {reason}; check user, password and \
         what the user was granted"
    )]
    Refused {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the server said it.
        reason: String,
    },

    /// The server has no database of this name.
    #[error(
        "cannot {action} {database}: the server has no such database; make it with `CREATE \
         DATABASE`, or name another one with --db"
    )]
    MissingDatabase {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// Others were in the way for too long. Nothing was done.
    #[error(
        "cannot {action} {database}: others are in the way: {reason}; try again, and see who with \
         `SELECT * FROM pg_stat_activity`"
    )]
    Busy {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the server said it.
        reason: String,
    },

    /// The tables are not as Netglass makes and fills them.
    #[error(
        "cannot {action} {database}: its schema netglass holds what Netglass does not write \
         ({reason}); restore a copy, or rename the schema and a new one will be made"
    )]
    Damaged {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// What was found.
        reason: String,
    },

    /// The database has a schema of that name that is none of Netglass. It was not touched.
    #[error(
        "cannot {action} {database}: its schema netglass is of another program, and was left \
         untouched; rename it, or name another database"
    )]
    ForeignSchema {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// Another host with the same machine-id and name reports too. Nothing was written.
    #[error(
        "cannot {action} {database}: another host with the same machine-id and name reports there; \
         give one of them another machine-id (`systemd-machine-id-setup`) or name"
    )]
    DuplicateHost {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
    },

    /// Whatever else the database said.
    #[error("cannot {action} {database}: {reason}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// On which database.
        database: DatabaseUrl,
        /// As the database said it.
        reason: String,
    },
}

impl Error {
    /// Whether trying again soon will not help: somebody has to do something first.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::UnknownScheme { .. }
            | Self::InvalidUrl { .. }
            | Self::Directory { .. }
            | Self::NotRegular { .. }
            | Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::ReadOnly { .. }
            | Self::Claimed { .. }
            | Self::Refused { .. }
            | Self::MissingDatabase { .. }
            | Self::Damaged { .. }
            | Self::ForeignSchema { .. }
            | Self::DuplicateHost { .. } => true,
            Self::Missing { .. }
            | Self::Full { .. }
            | Self::Locked { .. }
            | Self::Inaccessible { .. }
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Failed { .. } => false,
        }
    }
}
