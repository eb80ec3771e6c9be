//! Observations as they arrive: of one flush, merged here, and copied into one table.

use std::{collections::HashMap, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use netglass_model::{FlowCounters, Timestamp};
use uuid::Uuid;

use super::codec::{COPY_SIGNATURE, Moment};
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
}

/// The statement that takes them.
pub(super) const COPY: &str = "COPY recent FROM STDIN (FORMAT binary)";

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
}

/// Observations of one flush: of one thing in one bucket, one.
#[derive(Debug, Default)]
pub(super) struct Recent {
    rows: HashMap<(Kind, Uuid, Moment), Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    first: Moment,
    last: Moment,
    counters: FlowCounters,
}

impl Recent {
    /// Adds an observation; what is not counted of its kind is nothing.
    pub(super) fn add(&mut self, kind: Kind, id: Uuid, span: Span, counters: FlowCounters) {
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

    /// The starts of the buckets that there are.
    pub(super) fn buckets(&self) -> impl Iterator<Item = Moment> + '_ {
        self.rows.keys().map(|(_, _, bucket)| *bucket)
    }

    /// What `COPY … (FORMAT binary)` takes (manual of `COPY`, "Binary Format").
    pub(super) fn encode(&self) -> Bytes {
        const FIELDS: i16 = 5 + 15;
        const { assert!(FIELDS as usize == 5 + COUNTERS) };
        let mut out = BytesMut::with_capacity(32 + self.rows.len() * 260);
        out.put_slice(COPY_SIGNATURE);
        // Neighbours in the index are written one after another.
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|((_, id, bucket), _)| (*id, *bucket));
        for (&(kind, id, bucket), row) in rows {
            out.put_i16(FIELDS);
            out.put_i32(16);
            out.put_slice(id.as_bytes());
            let moments = [bucket, row.first, row.last].map(Moment::wire);
            for value in moments.into_iter().chain(counter_columns(&row.counters)) {
                out.put_i32(8);
                out.put_i64(value);
            }
            out.put_i32(2);
            out.put_i16(kind as i16);
        }
        out.put_i16(-1);
        out.freeze()
    }
}
