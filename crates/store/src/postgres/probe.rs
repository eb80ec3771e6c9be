//! Which probes report, and what each has delivered.

use netglass_model::{HostId, Ledger, Probe, ProbeId, ProbeStatus, SpoolUsage};
use tokio_postgres::Row;

use super::{
    codec::{count, text, timestamp},
    connect::Session,
    fault::Fault,
};

/// Keeps that a flush has arrived: no row if it had before.
pub(super) const ARRIVED: &str = "
    INSERT INTO probe (probe_id, host_id, boot_id, version, started, first_flush, last_flush,
        first_received, last_received, sequence, ended, spool_flushes, spool_bytes, spool_limit,
        ledger)
    VALUES ($1, $2, $3, $4, $5, $6, $6, now(), now(), $7, $8, $9, $10, $11, $12)
    ON CONFLICT (probe_id) DO UPDATE SET
        last_flush = excluded.last_flush, last_received = excluded.last_received,
        sequence = excluded.sequence, ended = excluded.ended,
        spool_flushes = excluded.spool_flushes, spool_bytes = excluded.spool_bytes,
        spool_limit = excluded.spool_limit, ledger = excluded.ledger
    WHERE probe.sequence < excluded.sequence";

/// Whether another boot of the host has reported, not long ago, since this one began to. A host
/// that was started anew does not come back in its former boot; of two hosts both do. The one that
/// was there first goes on.
pub(super) const DUPLICATE: &str = "
    SELECT EXISTS (
        SELECT FROM probe own JOIN probe other USING (host_id)
        WHERE own.probe_id = $1 AND own.boot_id <> other.boot_id
            AND own.boot_id <> '' AND other.boot_id <> ''
            AND other.first_received < own.first_received
            AND other.last_received > own.first_received
            AND other.last_received > now() - interval '2 minutes')";

/// All probes, by host, the newest first.
pub(super) async fn read(session: &Session) -> Result<Vec<ProbeStatus>, Fault> {
    let rows = session
        .within(session.client.query(
            "SELECT machine_id, hostname, probe_id, boot_id, version, started, first_flush,
                last_flush, sequence, ended, spool_flushes, spool_bytes, spool_limit, ledger
             FROM probe JOIN host USING (host_id)
             ORDER BY hostname COLLATE \"C\", machine_id COLLATE \"C\", started DESC, probe_id DESC",
            &[],
        ))
        .await?;
    rows.iter().map(status).collect()
}

fn status(row: &Row) -> Result<ProbeStatus, Fault> {
    let ledger: Ledger = serde_json::from_str(row.try_get(13)?)
        .map_err(|error| Fault::Malformed(format!("a probe's ledger is none: {error}")))?;
    Ok(ProbeStatus {
        host: HostId { machine_id: text(row, 0)?, hostname: text(row, 1)? },
        probe: Probe {
            id: ProbeId(row.try_get(2)?),
            boot_id: text(row, 3)?,
            version: text(row, 4)?,
            started: timestamp(row, 5)?,
        },
        first_flush: timestamp(row, 6)?,
        last_flush: timestamp(row, 7)?,
        sequence: count(row, 8)?,
        ended: row.try_get(9)?,
        spool: SpoolUsage {
            flushes: count(row, 10)?,
            bytes: count(row, 11)?,
            limit: count(row, 12)?,
        },
        ledger,
    })
}
