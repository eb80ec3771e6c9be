//! Which probes report, and what each has delivered.

use netglass_model::{Flush, HostId, Ledger, Probe, ProbeId, ProbeStatus, SpoolUsage, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    codec::{count, count_to_column, timestamp},
    fault::Fault,
};

/// Keeps that `flush` has arrived. False if it had before.
pub(super) fn arrived(
    transaction: &Transaction<'_>,
    host_id: i64,
    flush: &Flush,
) -> Result<bool, Fault> {
    let Flush { probe, spool, .. } = flush;
    let ledger = serde_json::to_string(&flush.ledger)
        .map_err(|error| Fault::Malformed(format!("a ledger cannot be written: {error}")))?;
    let rows = transaction.execute(
        "INSERT INTO probe (probe_id, host_id, boot_id, version, started, first_flush, last_flush,
            sequence, ended, spool_flushes, spool_bytes, spool_limit, ledger)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (probe_id) DO UPDATE SET
            last_flush = excluded.last_flush, sequence = excluded.sequence, ended = excluded.ended,
            spool_flushes = excluded.spool_flushes, spool_bytes = excluded.spool_bytes,
            spool_limit = excluded.spool_limit, ledger = excluded.ledger
         WHERE sequence < excluded.sequence",
        params![
            probe.id.to_string(),
            host_id,
            probe.boot_id,
            probe.version,
            probe.started.as_nanoseconds(),
            flush.at.as_nanoseconds(),
            count_to_column(flush.sequence),
            flush.last,
            count_to_column(spool.flushes),
            count_to_column(spool.bytes),
            count_to_column(spool.limit),
            ledger,
        ],
    )?;
    Ok(rows > 0)
}

/// All probes, by host, the newest first.
pub(super) fn read(connection: &mut Connection) -> Result<Vec<ProbeStatus>, Fault> {
    let mut statement = connection.prepare(
        "SELECT machine_id, hostname, probe_id, boot_id, version, started, first_flush, last_flush,
            sequence, ended, spool_flushes, spool_bytes, spool_limit, ledger
         FROM probe JOIN host USING (host_id)
         ORDER BY hostname, machine_id, started DESC, probe_id DESC",
    )?;
    let mut rows = statement.query(())?;
    let mut probes = Vec::new();
    while let Some(row) = rows.next()? {
        probes.push(status(row)?);
    }
    Ok(probes)
}

/// Forgets probes that were heard of last before `cutoff`.
pub(super) fn forget(transaction: &Transaction<'_>, cutoff: Timestamp) -> Result<(), Fault> {
    transaction.execute("DELETE FROM probe WHERE last_flush < ?1", (cutoff.as_nanoseconds(),))?;
    Ok(())
}

fn status(row: &Row<'_>) -> Result<ProbeStatus, Fault> {
    let id = row.get::<_, String>(2)?;
    let id = id.parse().map_err(|_| Fault::Malformed("a probe's id is no UUID".to_owned()))?;
    let ledger: Ledger = serde_json::from_str(&row.get::<_, String>(13)?)
        .map_err(|error| Fault::Malformed(format!("a probe's ledger is none: {error}")))?;
    Ok(ProbeStatus {
        host: HostId { machine_id: row.get(0)?, hostname: row.get(1)? },
        probe: Probe {
            id: ProbeId(id),
            boot_id: row.get(3)?,
            version: row.get(4)?,
            started: timestamp(row, 5)?,
        },
        first_flush: timestamp(row, 6)?,
        last_flush: timestamp(row, 7)?,
        sequence: count(row, 8)?,
        ended: row.get(9)?,
        spool: SpoolUsage {
            flushes: count(row, 10)?,
            bytes: count(row, 11)?,
            limit: count(row, 12)?,
        },
        ledger,
    })
}
