//! What is known of the observations at each resolution, in the table `extent`.

use rusqlite::{Connection, ToSql, types::ToSqlOutput};

use super::fault::Fault;
use crate::resolution::Resolution;

/// How far observations at one resolution reach, and from when on they are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The farthest that any of them reaches from the start of its bucket, in either direction.
    pub(super) reach: i64,
    /// Those in buckets before this are not there, or not all of them.
    pub(super) kept_since: i64,
}

impl Extent {
    /// That of the observations at `resolution`.
    pub(super) fn of(connection: &Connection, resolution: Resolution) -> Result<Self, Fault> {
        let mut statement =
            connection.prepare("SELECT reach, kept_since FROM extent WHERE resolution = ?1")?;
        Ok(statement.query_row((resolution,), |row| {
            Ok(Self { reach: row.get(0)?, kept_since: row.get(1)? })
        })?)
    }
}

impl ToSql for Resolution {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}
