//! What went wrong inside the `PostgreSQL` backend, before it is known what was being done.

use std::{
    error::{self, Error as _},
    io, iter,
};

use tokio_postgres::error::SqlState;

use crate::{DatabaseUrl, Error};

/// What went wrong, without the action and the database that make it an [`Error`].
#[derive(Debug)]
pub(super) enum Fault {
    /// The server, or the way to it, said so.
    Postgres(tokio_postgres::Error),
    /// There is no way to the server.
    Unreachable(String),
    /// The server did not answer in time.
    Silent,
    /// The connection cannot be made as it was asked for.
    Setup(String),
    /// A value in the database is none that Netglass writes.
    Malformed(String),
    /// The schema of that name is another program's.
    Foreign,
    /// The schema is newer than `known`.
    Newer { found: u32, known: u32 },
    /// The schema is older than `known`, and may not be migrated.
    Older { found: u32, known: u32 },
    /// Writing is not allowed.
    ReadOnly(String),
    /// Another probe writes the same.
    Claimed,
    /// Another host has the same identity.
    DuplicateHost,
}

impl Fault {
    /// Whether the connection is of no use any more, and another one may be.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Silent | Self::Unreachable(_) => true,
            Self::Postgres(error) => match error.code() {
                // What the client found wrong with a value is no fault of the connection.
                None => error.is_closed() || is_io(error),
                Some(code) => {
                    *code == SqlState::ADMIN_SHUTDOWN
                        || *code == SqlState::CRASH_SHUTDOWN
                        || *code == SqlState::CANNOT_CONNECT_NOW
                        || code.code().starts_with("08")
                        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                }
            },
            _ => false,
        }
    }

    /// Whether others were in the way, and the same can go well the next time.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code().is_some_and(|code| {
            *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
        }))
    }

    /// Whether something was locked by others for too long.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Postgres(error)
            if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// Whether a number came to be larger than its type holds.
    pub(super) fn is_out_of_range(&self) -> bool {
        matches!(self, Self::Postgres(error)
            if error.code() == Some(&SqlState::NUMERIC_VALUE_OUT_OF_RANGE))
    }

    /// The error of having failed to do `action` on `database`.
    pub(super) fn into_error(self, action: &'static str, database: &DatabaseUrl) -> Error {
        let database = database.clone();
        match self {
            Self::Postgres(error) => from_postgres(&error, action, database),
            Self::Unreachable(reason) => Error::Unreachable { action, database, reason },
            Self::Silent => Error::Unreachable {
                action,
                database,
                reason: "the server does not answer in time".to_owned(),
            },
            Self::Setup(reason) => Error::Failed { action, database, reason },
            Self::Malformed(reason) => Error::Damaged { action, database, reason },
            Self::Foreign => Error::ForeignSchema { action, database },
            Self::Newer { found, known } => Error::NewerSchema { action, database, found, known },
            Self::Older { found, known } => Error::OlderSchema { action, database, found, known },
            Self::ReadOnly(reason) => Error::ReadOnly { action, database, reason },
            Self::Claimed => Error::Claimed { action, database },
            Self::DuplicateHost => Error::DuplicateHost { action, database },
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// What an error came from, one after the other.
fn causes(error: &tokio_postgres::Error) -> impl Iterator<Item = &(dyn error::Error + 'static)> {
    let mut next = error.source();
    iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    causes(error).any(<dyn error::Error>::is::<io::Error>)
}

/// What the server said, or else each cause of the error.
fn reason_of(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().filter(|_| said.code().code().starts_with("28"));
        return match detail {
            Some(detail) => format!("{} ({detail})", said.message()),
            None => said.message().to_owned(),
        };
    }
    let mut reason = error.to_string();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !reason.contains(&cause) {
            reason = format!("{reason}: {cause}");
        }
    }
    reason
}

fn from_postgres(
    error: &tokio_postgres::Error,
    action: &'static str,
    database: DatabaseUrl,
) -> Error {
    let reason = reason_of(error);
    let Some(code) = error.code() else {
        // Only the client's own words, such as that it has no password to give, come without.
        return if error.is_closed() || is_io(error) {
            Error::Unreachable { action, database, reason }
        } else if reason.contains("password missing") {
            Error::Refused { action, database, reason: "it asks for a password".to_owned() }
        } else {
            Error::Failed { action, database, reason }
        };
    };
    match code.code() {
        "3D000" => Error::MissingDatabase { action, database },
        // No authorization, and no right to do this.
        "28000" | "28P01" | "42501" => Error::Refused { action, database, reason },
        // A standby.
        "25006" => Error::ReadOnly { action, database, reason },
        "53100" => Error::Full { action, database },
        // Locked, cancelled as it took too long, and in each other's way.
        "55P03" | "57014" | "40001" | "40P01" => Error::Busy { action, database, reason },
        "53300" | "57P01" | "57P02" | "57P03" => Error::Unreachable { action, database, reason },
        // What a statement names is not there.
        "42P01" | "42703" | "42883" | "42P10" | "3F000" | "XX001" | "XX002" => {
            Error::Damaged { action, database, reason }
        }
        code if code.starts_with("08") => Error::Unreachable { action, database, reason },
        _ => Error::Failed { action, database, reason },
    }
}
