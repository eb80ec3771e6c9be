//! The counters of a flow's observation as columns, and back.

use netglass_model::{Failures, FlowCounters, RttSamples};
use rusqlite::Row;

use super::{
    codec::{count, count_to_column},
    fault::Fault,
};

/// How many columns the counters have.
pub(super) const COLUMNS: usize = 15;

/// The columns, in the order in which they are written and read.
pub(super) const NAMES: [&str; COLUMNS] = [
    "connections",
    "opened",
    "failed_refused",
    "failed_timed_out",
    "failed_unreachable",
    "failed_reset",
    "failed_abandoned",
    "failed_other",
    "bytes_sent",
    "bytes_received",
    "segments_sent",
    "segments_received",
    "retransmits",
    "rtt_sum_us",
    "rtt_count",
];

/// The values of the columns.
pub(super) fn to_columns(counters: &FlowCounters) -> [i64; COLUMNS] {
    let FlowCounters {
        connections,
        opened,
        failed,
        bytes_sent,
        bytes_received,
        segments_sent,
        segments_received,
        retransmits,
        rtt,
    } = *counters;
    let [refused, timed_out, unreachable, reset, abandoned, other] = failed.counts();
    [
        connections,
        opened,
        refused,
        timed_out,
        unreachable,
        reset,
        abandoned,
        other,
        bytes_sent,
        bytes_received,
        segments_sent,
        segments_received,
        retransmits,
        rtt.sum_us,
        rtt.count,
    ]
    .map(count_to_column)
}

/// The counters of a row that has the columns from `first` on.
pub(super) fn from_row(row: &Row<'_>, first: usize) -> Result<FlowCounters, Fault> {
    let mut columns = first..;
    let mut next = || count(row, columns.next().unwrap_or_default());
    Ok(FlowCounters {
        connections: next()?,
        opened: next()?,
        failed: Failures {
            refused: next()?,
            timed_out: next()?,
            unreachable: next()?,
            reset: next()?,
            abandoned: next()?,
            other: next()?,
        },
        bytes_sent: next()?,
        bytes_received: next()?,
        segments_sent: next()?,
        segments_received: next()?,
        retransmits: next()?,
        rtt: RttSamples { sum_us: next()?, count: next()? },
    })
}

/// What a row that is written again keeps: the counters of both as `FlowCounters::append` puts
/// them together. The sums stop at the largest integer: `SQLite` would go on with floating point
/// numbers.
pub(super) fn merged() -> String {
    let assignments = NAMES.iter().filter(|name| !["connections", "opened"].contains(name));
    let sums = assignments.map(|column| format!("{column} = {}", sum(column, column)));
    std::iter::once(merged_connections()).chain(sums).collect::<Vec<_>>().join(", ")
}

/// The same of how many connections there are, and how many of them began.
pub(super) fn merged_connections() -> String {
    format!(
        "connections = max(excluded.connections, {}), opened = {}",
        sum("connections", "opened"),
        sum("opened", "opened")
    )
}

fn sum(column: &str, added: &str) -> String {
    format!("min({column}, 9223372036854775807 - excluded.{added}) + excluded.{added}")
}
