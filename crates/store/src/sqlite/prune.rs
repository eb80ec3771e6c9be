//! Removing what is older than it is kept.

use std::{thread, time::Instant};

use netglass_model::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{fault::Fault, flow_log, probe, resolution::Extent};
use crate::{Settings, resolution::Resolution};

/// How many rows one transaction removes: some milliseconds, during which others must wait.
const CHUNK: u32 = 2_000;

/// Removes what is older than each resolution is kept, and observations that ended before the
/// retention began at all of them, then flow records that were logged before it began, and the
/// dimensions that no observation names any more. Hosts stay. Returns how many days of flows and
/// listeners that were.
///
/// The file gives pages back once more than a quarter of it is free; below that the free pages are
/// what the next minutes are written to, so that a steady load neither grows nor moves the file.
pub(super) fn maintain(
    connection: &mut Connection,
    settings: &Settings,
    now: Timestamp,
) -> Result<u64, Fault> {
    keep_since(connection, settings, now)?;
    let cutoff = now.saturating_sub(settings.retention);
    let mut removed = 0;
    for (what, counts) in
        [("flow", true), ("listener", true), ("address", false), ("translation", false)]
    {
        for resolution in Resolution::ALL {
            repeat(connection, |transaction| replaced(what, transaction, resolution))?;
            let old = repeat(connection, |transaction| old(what, transaction, resolution, cutoff))?;
            // All that is left of an observation is in its day.
            if counts && resolution == Resolution::Day {
                removed += old;
            }
        }
    }
    remove_flow_records(connection, cutoff)?;
    for dimension in DIMENSIONS {
        repeat(connection, |transaction| unused(dimension, transaction, cutoff))?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    probe::forget(&transaction, cutoff)?;
    transaction.commit()?;
    shrink(connection)?;
    Ok(removed)
}

/// Removes flow records that were logged before the retention began, and nothing else.
pub(super) fn maintain_flow_log(
    connection: &mut Connection,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    remove_flow_records(connection, now.saturating_sub(settings.retention))?;
    shrink(connection)
}

fn remove_flow_records(connection: &mut Connection, cutoff: Timestamp) -> Result<(), Fault> {
    repeat(connection, |transaction| flow_log::remove(transaction, cutoff, CHUNK))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    flow_log::forget(&transaction, cutoff)?;
    transaction.commit()?;
    Ok(())
}

/// Says from when on each resolution is kept, before anything is removed: a reader must not look
/// for what is half gone.
fn keep_since(
    connection: &mut Connection,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for resolution in Resolution::ALL {
        // What is gone does not come back.
        let [since, most] = resolution.kept_since(settings, now).map(Timestamp::as_nanoseconds);
        transaction.execute(
            "UPDATE extent SET kept_since = max(?2, min(kept_since, ?3)) WHERE resolution = ?1",
            (resolution, since, most),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Runs `step` in a transaction of its own until it finds less than a full chunk, and says how much
/// it found in all.
fn repeat(
    connection: &mut Connection,
    step: impl Fn(&Transaction<'_>) -> Result<usize, Fault>,
) -> Result<u64, Fault> {
    let mut total = 0;
    loop {
        let start = Instant::now();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = step(&transaction)?;
        transaction.commit()?;
        total += removed as u64;
        if removed < CHUNK as usize {
            return Ok(total);
        }
        // SQLite knows no queue of writers: whoever asks again at once may keep the others out.
        thread::sleep(start.elapsed());
    }
}

/// Removes a chunk of what is kept at coarser resolutions alone.
fn replaced(
    what: &str,
    transaction: &Transaction<'_>,
    resolution: Resolution,
) -> Result<usize, Fault> {
    if resolution == Resolution::Day {
        return Ok(0);
    }
    let kept_since = Extent::of(transaction, resolution)?.kept_since;
    remove(what, transaction, resolution, "bucket < ?2", kept_since)
}

/// Removes a chunk of what ended before `cutoff`.
fn old(
    what: &str,
    transaction: &Transaction<'_>,
    resolution: Resolution,
    cutoff: Timestamp,
) -> Result<usize, Fault> {
    // The start of a bucket may be too old while its end is not; what it holds then stays.
    let condition = "bucket < ?2 AND last_seen < ?2";
    remove(what, transaction, resolution, condition, cutoff.as_nanoseconds())
}

fn remove(
    what: &str,
    transaction: &Transaction<'_>,
    resolution: Resolution,
    condition: &str,
    moment: i64,
) -> Result<usize, Fault> {
    let removed = transaction.execute(
        &format!(
            "DELETE FROM {what}_observation WHERE resolution = ?1 AND (bucket, {what}_id) IN (
                SELECT bucket, {what}_id FROM {what}_observation
                WHERE resolution = ?1 AND {condition} LIMIT ?3)"
        ),
        (resolution, moment, CHUNK),
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
    // No observation ends later than the start of the bucket that it was written in and the reach.
    let reach = Extent::of(transaction, Resolution::Written)?.reach;
    let before = cutoff.as_nanoseconds().saturating_sub(reach);
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
