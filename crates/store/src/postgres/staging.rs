//! Observations on their way: merged here, copied into a temporary table, and from there put into
//! the tables in one statement each.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use netglass_model::{FlowCounters, Timestamp};
use uuid::Uuid;

use super::codec::Moment;
use crate::columns::{COUNTER_NAMES, COUNTERS, counter_columns};

/// What is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Flow,
    Listener,
    Address,
    Translation,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::Flow, Self::Listener, Self::Address, Self::Translation];

    /// What its tables' names begin with.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Listener => "listener",
            Self::Address => "address",
            Self::Translation => "translation",
        }
    }

    /// The columns in which it is counted.
    pub(super) const fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Flow => &COUNTER_NAMES,
            Self::Listener | Self::Address => &[],
            Self::Translation => COUNTER_NAMES.split_at(2).0,
        }
    }

    /// All columns of its observations, in the order in which they are written.
    pub(super) fn columns(self) -> String {
        let mut columns = format!("{}_id, bucket, first_seen, last_seen", self.name());
        for counter in self.counters() {
            columns.push_str(", ");
            columns.push_str(counter);
        }
        columns
    }

    /// The statement that takes its rows over.
    pub(super) fn insert(self) -> String {
        let (name, columns) = (self.name(), self.columns());
        let staged = columns.replacen(&format!("{name}_id"), "id", 1);
        let number = self as i16;
        let merge = self.merge(&format!("{name}_observation"));
        format!(
            "INSERT INTO {name}_observation ({columns})
             SELECT {staged} FROM pg_temp.staging WHERE kind = {number}
             ON CONFLICT ({name}_id, bucket) DO UPDATE SET {merge}"
        )
    }

    /// What a row of `table` that is written again keeps: both as `FlowCounters::append` puts them
    /// together. The sums stop at the largest integer.
    pub(super) fn merge(self, table: &str) -> String {
        let sum = |column: &str, added: &str| {
            format!(
                "least({table}.{column}, 9223372036854775807 - excluded.{added}) + excluded.{added}"
            )
        };
        let mut merge = format!(
            "first_seen = least({table}.first_seen, excluded.first_seen),
             last_seen = greatest({table}.last_seen, excluded.last_seen)"
        );
        for &column in self.counters() {
            let value = match column {
                "connections" => {
                    format!("greatest(excluded.connections, {})", sum("connections", "opened"))
                }
                column => sum(column, column),
            };
            // Writing to a String cannot fail.
            let _ = write!(merge, ", {column} = {value}");
        }
        merge
    }
}

/// The temporary table.
pub(super) const TABLE: &str = "
    CREATE TEMPORARY TABLE IF NOT EXISTS staging (
        kind smallint, id uuid, bucket timestamptz, first_seen timestamptz, last_seen timestamptz,
        connections bigint, opened bigint, failed_refused bigint, failed_timed_out bigint,
        failed_unreachable bigint, failed_reset bigint, failed_abandoned bigint,
        failed_other bigint, bytes_sent bigint, bytes_received bigint, segments_sent bigint,
        segments_received bigint, retransmits bigint, rtt_sum_us bigint, rtt_count bigint
    ) ON COMMIT DELETE ROWS";

/// The statement that fills it.
pub(super) const COPY: &str = "COPY pg_temp.staging FROM STDIN (FORMAT binary)";

/// When something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) bucket: Moment,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

impl Span {
    pub(super) fn new(first: Timestamp, last: Timestamp, bucket: Duration) -> Self {
        Self {
            bucket: Moment::floor(last.bucket(bucket)),
            // A clock that was set back must not hide the observation from every window.
            first: Moment::floor(first.min(last)),
            last: Moment::ceil(last),
        }
    }

    /// How far it reaches from the start of its bucket, backwards and forwards.
    fn reach(self) -> [i64; 2] {
        let reach =
            [self.bucket.0.saturating_sub(self.first.0), self.last.0.saturating_sub(self.bucket.0)];
        reach.map(|reach| reach.max(0))
    }
}

/// Observations of one flush: of one thing in one bucket, one.
#[derive(Debug, Default)]
pub(super) struct Staging {
    rows: HashMap<(Kind, Uuid, Moment), Row>,
    /// How far they reach from the starts of their buckets, in microseconds.
    pub(super) reach: [i64; 2],
}

#[derive(Debug, Clone, Copy)]
struct Row {
    first: Moment,
    last: Moment,
    counters: FlowCounters,
}

impl Staging {
    /// Adds an observation; what is not counted of its kind is nothing.
    pub(super) fn add(&mut self, kind: Kind, id: Uuid, span: Span, counters: FlowCounters) {
        for (all, one) in self.reach.iter_mut().zip(span.reach()) {
            *all = one.max(*all);
        }
        let row = Row { first: span.first, last: span.last, counters };
        self.rows
            .entry((kind, id, span.bucket))
            .and_modify(|known| {
                known.first = known.first.min(row.first);
                known.last = known.last.max(row.last);
                known.counters.append(&row.counters);
            })
            .or_insert(row);
    }

    /// The kinds that there are.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| self.rows.keys().any(|(one, ..)| one == kind))
    }

    /// The starts of the buckets that there are.
    pub(super) fn buckets(&self) -> impl Iterator<Item = Moment> + '_ {
        self.rows.keys().map(|(_, _, bucket)| *bucket)
    }

    /// What `COPY … (FORMAT binary)` takes (manual of `COPY`, "Binary Format").
    pub(super) fn encode(&self) -> Bytes {
        const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
        const FIELDS: i16 = 5 + 15;
        const { assert!(FIELDS as usize == 5 + COUNTERS) };
        let mut rows: Vec<_> = self.rows.iter().collect();
        // In one order for all writers, so that no two wait for each other.
        rows.sort_unstable_by_key(|(key, _)| **key);

        let mut out = BytesMut::with_capacity(32 + rows.len() * 260);
        out.put_slice(SIGNATURE);
        out.put_slice(&[0; 8]);
        for (&(kind, id, bucket), row) in rows {
            out.put_i16(FIELDS);
            out.put_i32(2);
            out.put_i16(kind as i16);
            out.put_i32(16);
            out.put_slice(id.as_bytes());
            let moments = [bucket, row.first, row.last].map(Moment::wire);
            for value in moments.into_iter().chain(counter_columns(&row.counters)) {
                out.put_i32(8);
                out.put_i64(value);
            }
        }
        out.put_i16(-1);
        out.freeze()
    }
}
