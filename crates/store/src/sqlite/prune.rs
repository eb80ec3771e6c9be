//! Removing what is older than the retention.

use std::{thread, time::Instant};

use netglass_model::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{fault::Fault, probe, resolution::Resolution};

/// How many rows one transaction removes: some milliseconds, during which others must wait.
const CHUNK: u32 = 2_000;

/// Removes observations that ended before `cutoff`, then the dimensions that no observation names
/// any more. Hosts stay. Returns how many observations of flows and listeners that were.
///
/// The file gives pages back once more than a quarter of it is free; below that the free pages are
/// what the next minutes are written to, so that a steady load neither grows nor moves the file.
pub(super) fn prune(connection: &mut Connection, cutoff: Timestamp) -> Result<u64, Fault> {
    let mut removed = 0;
    for resolution in Resolution::ALL {
        let remove = |connection: &mut Connection, what: &str| {
            repeat(connection, CHUNK as usize, |transaction| {
                old(what, transaction, resolution, cutoff)
            })
        };
        removed += remove(connection, "flow")?;
        removed += remove(connection, "listener")?;
        remove(connection, "address")?;
        remove(connection, "translation")?;
    }
    for dimension in DIMENSIONS {
        repeat(connection, CHUNK as usize, |transaction| unused(dimension, transaction, cutoff))?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    probe::forget(&transaction, cutoff)?;
    transaction.commit()?;
    shrink(connection)?;
    Ok(removed)
}

/// Runs `step` in a transaction of its own until it finds less than a full chunk, and says how much
/// it found in all.
pub(super) fn repeat(
    connection: &mut Connection,
    chunk: usize,
    step: impl Fn(&Transaction<'_>) -> Result<usize, Fault>,
) -> Result<u64, Fault> {
    let mut total = 0;
    loop {
        let start = Instant::now();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = step(&transaction)?;
        transaction.commit()?;
        total += removed as u64;
        if removed < chunk {
            return Ok(total);
        }
        // SQLite knows no queue of writers: whoever asks again at once may keep the others out.
        thread::sleep(start.elapsed());
    }
}

fn old(
    what: &str,
    transaction: &Transaction<'_>,
    resolution: Resolution,
    cutoff: Timestamp,
) -> Result<usize, Fault> {
    // The start of a bucket may be too old while its end is not; what it holds then stays.
    let removed = transaction.execute(
        &format!(
            "DELETE FROM {what}_observation WHERE resolution = ?1 AND (bucket, {what}_id) IN (
                SELECT bucket, {what}_id FROM {what}_observation
                WHERE resolution = ?1 AND bucket < ?2 AND last_seen < ?2 LIMIT ?3)"
        ),
        (resolution, cutoff.as_nanoseconds(), CHUNK),
    )?;
    Ok(removed)
}

/// A dimension table, and when one of its rows, seen last before `?1`, is named by nobody.
struct Dimension {
    table: &'static str,
    observed: Option<&'static str>,
    unused: &'static str,
}

/// In an order in which nothing is removed before what refers to it.
const DIMENSIONS: &[Dimension] = &[
    Dimension { table: "flow", observed: Some("flow"), unused: "last_bucket < ?1" },
    Dimension { table: "listener", observed: Some("listener"), unused: "last_bucket < ?1" },
    Dimension { table: "translation", observed: Some("translation"), unused: "last_bucket < ?1" },
    Dimension { table: "host_address", observed: Some("address"), unused: "last_bucket < ?1" },
    Dimension {
        table: "process",
        observed: None,
        unused: "?1 = ?1
            AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.process_id = process.process_id)
            AND NOT EXISTS (SELECT 1 FROM listener WHERE listener.process_id = process.process_id)",
    },
    Dimension {
        table: "namespace",
        observed: None,
        unused: "last_bucket < ?1
            AND NOT EXISTS (SELECT 1 FROM flow
                WHERE flow.namespace_id = namespace.namespace_id)
            AND NOT EXISTS (SELECT 1 FROM listener
                WHERE listener.namespace_id = namespace.namespace_id)
            AND NOT EXISTS (SELECT 1 FROM translation
                WHERE translation.namespace_id = namespace.namespace_id)
            AND NOT EXISTS (SELECT 1 FROM host_address
                WHERE host_address.namespace_id = namespace.namespace_id)",
    },
];

fn unused(
    dimension: &Dimension,
    transaction: &Transaction<'_>,
    cutoff: Timestamp,
) -> Result<usize, Fault> {
    let Dimension { table, observed, unused } = dimension;
    if let Some(observed) = observed {
        // Someone may have added old observations since the last chunk. Within this transaction
        // nobody can: none is left that a removed row could be missing for.
        for resolution in Resolution::ALL {
            while old(observed, transaction, resolution, cutoff)? > 0 {}
        }
    }
    // No observation ends later than its bucket's start and the reach.
    let mut before = i64::MAX;
    for resolution in Resolution::ALL {
        before = before.min(resolution.bucket_before(transaction, cutoff)?);
    }
    let removed = transaction.execute(
        &format!(
            "DELETE FROM {table} WHERE rowid IN (
                SELECT rowid FROM {table} WHERE {unused} LIMIT ?2)"
        ),
        (before, CHUNK),
    )?;
    Ok(removed)
}

fn shrink(connection: &Connection) -> Result<(), Fault> {
    let count = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let (mut free, pages) = (count("freelist_count")?, count("page_count")?);
    let kept = pages / 8;
    if free <= pages / 4 {
        return Ok(());
    }
    while free > kept {
        let step = (free - kept).min(CHUNK);
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({step})"))?;
        let mut rows = statement.query(())?;
        // Each step of the statement moves one page.
        while rows.next()?.is_some() {}
        drop(rows);
        let left = count("freelist_count")?;
        if left >= free {
            // A file that was made without auto_vacuum keeps its pages, and reuses them.
            break;
        }
        free = left;
    }
    Ok(())
}
