//! How finely the time of observations is kept.

use std::time::Duration;

use netglass_model::Timestamp;
use rusqlite::{Connection, ToSql, types::ToSqlOutput};

use super::fault::Fault;
use crate::Window;

/// How long the buckets of an observation are; what is older is kept less finely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolution {
    /// As they were written.
    Written,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Resolution {
    /// All of them, in the order in which time passes.
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::Hour, Self::Written];

    /// How long its buckets are; unknown for those that were written, as each writer chooses.
    pub(super) const fn bucket(self) -> Option<Duration> {
        match self {
            Self::Written => None,
            Self::Hour => Some(Duration::from_secs(60 * 60)),
            Self::Day => Some(Duration::from_secs(24 * 60 * 60)),
        }
    }

    const fn number(self) -> i64 {
        match self {
            Self::Written => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }

    /// The first and last bucket that may hold what touches the window, and the window itself.
    pub(super) fn bounds(self, connection: &Connection, window: Window) -> Result<[i64; 4], Fault> {
        let reach = self.reach(connection)?;
        let (since, until) = (window.since.as_nanoseconds(), window.until.as_nanoseconds());
        Ok([since.saturating_sub(reach), until.saturating_add(reach), since, until])
    }

    /// The newest bucket in which nothing reaches beyond `cutoff`.
    pub(super) fn bucket_before(
        self,
        connection: &Connection,
        cutoff: Timestamp,
    ) -> Result<i64, Fault> {
        Ok(cutoff.as_nanoseconds().saturating_sub(self.reach(connection)?))
    }

    fn reach(self, connection: &Connection) -> Result<i64, Fault> {
        let mut statement = connection.prepare("SELECT reach FROM extent WHERE resolution = ?1")?;
        Ok(statement.query_row((self,), |row| row.get(0))?)
    }
}

impl ToSql for Resolution {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}
