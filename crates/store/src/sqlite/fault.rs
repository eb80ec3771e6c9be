//! What went wrong inside the `SQLite` backend, before it is known what was being done.

use std::io;

use rusqlite::ErrorCode;

use crate::{DatabaseUrl, Error};

/// What went wrong, without the action and the database that make it an [`Error`].
#[derive(Debug)]
pub(super) enum Fault {
    /// `SQLite` said so.
    Sqlite(rusqlite::Error),
    /// The system said so.
    Io(io::Error),
    /// A value in the file is none that Netglass writes.
    Malformed(String),
    /// There is no such file.
    Missing,
    /// The path is a directory.
    Directory,
    /// The path is no regular file.
    NotRegular,
    /// The database is another program's.
    Foreign,
    /// The schema is newer than `known`.
    Newer { found: u32, known: u32 },
    /// The schema is older than `known`, and may not be migrated.
    Older { found: u32, known: u32 },
    /// Writing is not allowed.
    ReadOnly(String),
    /// Another probe writes the same.
    Claimed,
}

impl Fault {
    /// Whether another connection is in the way for now.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether the files that `SQLite` needs beside the database could not be made or used.
    pub(super) fn is_access(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
        )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    /// The error of having failed to do `action` on `database`.
    pub(super) fn into_error(self, action: &'static str, database: &DatabaseUrl) -> Error {
        let database = database.clone();
        match self {
            Self::Sqlite(error) => from_sqlite(&error, action, database),
            Self::Io(error) => from_io(&error, action, database),
            Self::Claimed => Error::Claimed { action, database },
            Self::Malformed(reason) => Error::Corrupt { action, database, reason },
            Self::Missing => Error::Missing { action, database },
            Self::Directory => Error::Directory { action, database },
            Self::NotRegular => Error::NotRegular { action, database },
            Self::Foreign => Error::Foreign { action, database },
            Self::Newer { found, known } => Error::NewerSchema { action, database, found, known },
            Self::Older { found, known } => Error::OlderSchema { action, database, found, known },
            Self::ReadOnly(reason) => Error::ReadOnly { action, database, reason },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn from_sqlite(error: &rusqlite::Error, action: &'static str, database: DatabaseUrl) -> Error {
    use rusqlite::Error as Sqlite;

    let reason = error.to_string();
    // Our statements never change: one that cannot be prepared or finds nothing where there is
    // always something meets a schema that is not the one it says it is.
    if matches!(
        error,
        Sqlite::SqlInputError { .. }
            | Sqlite::QueryReturnedNoRows
            | Sqlite::FromSqlConversionFailure(..)
            | Sqlite::IntegralValueOutOfRange(..)
            | Sqlite::InvalidColumnType(..)
            | Sqlite::Utf8Error(..)
    ) {
        return Error::Corrupt { action, database, reason };
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::TooBig
            // SQLITE_ERROR: what a statement names is not there.
            | ErrorCode::Unknown,
        ) => Error::Corrupt { action, database, reason },
        Some(ErrorCode::DiskFull) => Error::Full { action, database },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Locked { action, database }
        }
        Some(ErrorCode::ReadOnly) => Error::ReadOnly { action, database, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
            Error::Inaccessible { action, database, reason }
        }
        _ => Error::Failed { action, database, reason },
    }
}

fn from_io(error: &io::Error, action: &'static str, database: DatabaseUrl) -> Error {
    let reason = error.to_string();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::ReadOnly { action, database, reason }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Full { action, database }
        }
        _ => Error::Inaccessible { action, database, reason },
    }
}
