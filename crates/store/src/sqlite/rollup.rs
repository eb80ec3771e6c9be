//! Putting old observations together by hour, and older ones by day.

use netglass_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{counters, fault::Fault, prune::repeat, resolution::Resolution, write::MERGED_TIMES};
use crate::Settings;

/// How many rows one transaction moves: some milliseconds, during which others must wait.
const CHUNK: usize = 2_000;

/// What is observed: the name of its tables, and its columns beside the times.
struct Kind {
    name: &'static str,
    columns: &'static [&'static str],
    merged: fn() -> String,
}

const KINDS: [Kind; 4] = [
    Kind { name: "flow", columns: &counters::NAMES, merged: counters::merged },
    Kind { name: "listener", columns: &[], merged: String::new },
    Kind { name: "address", columns: &[], merged: String::new },
    Kind {
        name: "translation",
        columns: &["connections", "opened"],
        merged: counters::merged_connections,
    },
];

/// Moves what is older than `settings` say from each resolution to the next.
pub(super) fn roll_up(
    connection: &mut Connection,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    let ages = [
        (Resolution::Written, Resolution::Hour, settings.hourly_after),
        (Resolution::Hour, Resolution::Day, settings.daily_after),
    ];
    for (fine, coarse, age) in ages {
        let Some(bucket) = coarse.bucket() else { continue };
        // A bucket that is moved as a whole is written to once.
        let before = now.saturating_sub(age).bucket(bucket);
        for kind in &KINDS {
            repeat(connection, CHUNK, |transaction| {
                kind.advance(transaction, fine, coarse, before)
            })?;
        }
    }
    Ok(())
}

impl Kind {
    /// Moves the oldest of what lies before `before`, at most a chunk.
    ///
    /// In order of time, row by row: what is in the way of a row is what came before it, and both
    /// become one as two writes to the same bucket do.
    fn advance(
        &self,
        transaction: &Transaction<'_>,
        fine: Resolution,
        coarse: Resolution,
        before: Timestamp,
    ) -> Result<usize, Fault> {
        let Self { name, columns, merged } = self;
        let before = before.as_nanoseconds();
        let last = transaction
            .query_row(
                &format!(
                    "SELECT bucket, {name}_id FROM {name}_observation
                     WHERE resolution = ?1 AND bucket < ?2
                     ORDER BY bucket, {name}_id LIMIT 1 OFFSET {}",
                    CHUNK - 1
                ),
                (fine, before),
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?
            .unwrap_or((before.saturating_sub(1), i64::MAX));
        let length = coarse
            .bucket()
            .map_or(i64::MAX, |length| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX));
        // Rounded down, before 1970 too.
        let bucket = format!("bucket - (bucket % {length} + {length}) % {length}");
        let columns = columns.iter().flat_map(|column| [", ", column]).collect::<String>();
        let merged = match merged() {
            merged if merged.is_empty() => merged,
            merged => format!(", {merged}"),
        };
        let chosen = format!("resolution = ?1 AND (bucket, {name}_id) <= (?2, ?3)");
        transaction.execute(
            &format!(
                "UPDATE extent SET reach = max(reach, coalesce((
                    SELECT max(max(last_seen - ({bucket}), {bucket} - first_seen))
                    FROM {name}_observation WHERE {chosen}), 0))
                 WHERE resolution = ?4"
            ),
            (fine, last.0, last.1, coarse),
        )?;
        transaction.execute(
            &format!(
                "INSERT INTO {name}_observation
                    (resolution, bucket, {name}_id, first_seen, last_seen{columns})
                 SELECT ?4, {bucket}, {name}_id, first_seen, last_seen{columns}
                 FROM {name}_observation WHERE {chosen} ORDER BY bucket, {name}_id
                 ON CONFLICT (resolution, bucket, {name}_id) DO UPDATE SET {MERGED_TIMES}{merged}"
            ),
            (fine, last.0, last.1, coarse),
        )?;
        let moved = transaction.execute(
            &format!("DELETE FROM {name}_observation WHERE {chosen}"),
            (fine, last.0, last.1),
        )?;
        Ok(moved)
    }
}
