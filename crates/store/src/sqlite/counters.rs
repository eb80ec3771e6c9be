//! The counters of a flow's observation as columns, and back.

use netglass_model::FlowCounters;
use rusqlite::Row;

use super::{codec::count, fault::Fault};
use crate::columns::counters_from;
pub(super) use crate::columns::{
    COUNTER_NAMES as NAMES, COUNTERS as COLUMNS, counter_columns as to_columns,
};

/// The counters of a row that has the columns from `first` on.
pub(super) fn from_row(row: &Row<'_>, first: usize) -> Result<FlowCounters, Fault> {
    let mut columns = first..;
    counters_from(|| count(row, columns.next().unwrap_or_default()))
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
