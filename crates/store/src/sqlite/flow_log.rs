//! Flow records of captures: written as they are, and removed when they are old.

use std::time::SystemTime;

use netglass_model::{HostId, Timestamp};
use rusqlite::{
    Connection, Transaction, TransactionBehavior,
    types::{ToSqlOutput, ValueRef},
};

use super::fault::Fault;
use crate::{
    columns::count_to_column,
    flow_log::{COLUMNS, FlowBatch, Value},
};

/// Adds the records of `batch`, which were captured on `host`: all of them, or none; nothing where
/// it has arrived before.
pub(super) fn write(
    connection: &mut Connection,
    host: &HostId,
    batch: &FlowBatch,
) -> Result<(), Fault> {
    let logged_at = Timestamp::from(SystemTime::now());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let host_id = host_id(&transaction, host)?;
    if arrived(&transaction, host_id, batch, logged_at)? {
        insert(&transaction, host_id, batch, logged_at)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Which namespace is the host's own is for its probes to say.
fn host_id(transaction: &Transaction<'_>, host: &HostId) -> Result<i64, Fault> {
    let identity = (&host.machine_id, &host.hostname);
    transaction.execute(
        "INSERT INTO host (machine_id, hostname) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        identity,
    )?;
    let id = transaction.query_row(
        "SELECT host_id FROM host WHERE machine_id = ?1 AND hostname = ?2",
        identity,
        |row| row.get(0),
    )?;
    Ok(id)
}

/// Keeps that a batch has arrived. False if it had before.
fn arrived(
    transaction: &Transaction<'_>,
    host_id: i64,
    batch: &FlowBatch,
    logged_at: Timestamp,
) -> Result<bool, Fault> {
    let rows = transaction.execute(
        "INSERT INTO capture (capture_id, host_id, sequence, last_logged_at)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (capture_id) DO UPDATE SET
            sequence = excluded.sequence, last_logged_at = excluded.last_logged_at
         WHERE sequence < excluded.sequence",
        (
            batch.run.to_string(),
            host_id,
            count_to_column(batch.sequence),
            logged_at.as_nanoseconds(),
        ),
    )?;
    Ok(rows > 0)
}

fn insert(
    transaction: &Transaction<'_>,
    host_id: i64,
    batch: &FlowBatch,
    logged_at: Timestamp,
) -> Result<(), Fault> {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    let mut statement = transaction.prepare(&format!(
        "INSERT INTO flow_log (logged_at, host_id, {}) VALUES (?, ?{})",
        names.join(", "),
        ", ?".repeat(names.len()),
    ))?;
    statement.raw_bind_parameter(1, logged_at.as_nanoseconds())?;
    statement.raw_bind_parameter(2, host_id)?;
    for record in &batch.records {
        for (index, column) in COLUMNS.iter().enumerate() {
            statement.raw_bind_parameter(index + 3, to_column(column.value(record)))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn to_column(value: Option<Value<'_>>) -> ToSqlOutput<'_> {
    match value {
        None => ToSqlOutput::Borrowed(ValueRef::Null),
        Some(Value::Integer(integer)) => integer.into(),
        Some(Value::Timestamp(moment)) => moment.as_nanoseconds().into(),
        Some(Value::Text(text)) => text.into(),
        Some(Value::Name(name)) => name.into(),
        Some(
            value @ (Value::Id(_) | Value::Protocol(_) | Value::Address(_) | Value::TcpFlags(_)),
        ) => value.to_string().into(),
    }
}

/// Removes a chunk of the records that were logged before `cutoff`, and says how many that were.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    cutoff: Timestamp,
    chunk: u32,
) -> Result<usize, Fault> {
    let removed = transaction.execute(
        "DELETE FROM flow_log WHERE rowid IN (
            SELECT rowid FROM flow_log WHERE logged_at < ?1 LIMIT ?2)",
        (cutoff.as_nanoseconds(), chunk),
    )?;
    Ok(removed)
}

/// Forgets captures that logged last before `cutoff`.
pub(super) fn forget(transaction: &Transaction<'_>, cutoff: Timestamp) -> Result<(), Fault> {
    transaction
        .execute("DELETE FROM capture WHERE last_logged_at < ?1", (cutoff.as_nanoseconds(),))?;
    Ok(())
}
