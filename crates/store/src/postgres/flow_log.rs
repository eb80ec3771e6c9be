//! Flow records of captures: written as they are, in one transaction for each batch.

use std::net::IpAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use netglass_model::{FlowRecord, HostId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    codec::{COPY_SIGNATURE, Moment, escaped},
    connect::Session,
    fault::Fault,
    identity, partition,
    write::fill,
};
use crate::{
    Settings,
    columns::count_to_column,
    flow_log::{COLUMNS, FlowBatch, Value},
};

/// How many records one statement copies: much less than what a slow server takes before the time of
/// any statement is up.
const CHUNK: usize = 16_384;

/// Which namespace is the host's own is for its probes to say.
const HOST: &str = "
    INSERT INTO host (host_id, machine_id, hostname) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

/// Keeps that a batch has arrived: no row if it had before.
const ARRIVED: &str = "
    INSERT INTO capture (capture_id, host_id, sequence, last_logged_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (capture_id) DO UPDATE SET
        sequence = excluded.sequence, last_logged_at = excluded.last_logged_at
    WHERE capture.sequence < excluded.sequence";

/// Adds the records of `batch`, which were captured on `host`: all of them, or none; nothing where
/// it has arrived before.
pub(super) async fn write(
    session: &mut Session,
    settings: &Settings,
    host: &HostId,
    batch: &FlowBatch,
) -> Result<(), Fault> {
    let moments = batch.records.iter().map(|record| Moment::floor(record.first_seen));
    partition::make_for_flow_log(session, moments, settings.retention).await?;
    let keep_host = session.statement(HOST).await?;
    let arrived = session.statement(ARRIVED).await?;
    let copy = session.statement(&copy()).await?;

    let host_id = identity::host(host);
    let machine_id = escaped(&host.machine_id);
    let hostname = escaped(&host.hostname);
    let sequence = count_to_column(batch.sequence);
    let host_row: [&(dyn ToSql + Sync); 3] = [&host_id, &machine_id, &hostname];
    let capture_row: [&(dyn ToSql + Sync); 3] = [&batch.run, &host_id, &sequence];
    let client = &session.client;
    let done = async {
        // Sent together, in this order; the answers are awaited together, too.
        let begun = session.within(async {
            let (begin, kept, arrived) = tokio::join!(
                biased;
                client.batch_execute("BEGIN"),
                client.execute(&keep_host, &host_row),
                client.execute(&arrived, &capture_row),
            );
            begin?;
            kept?;
            arrived
        });
        if begun.await? == 0 {
            return session.run("ROLLBACK").await;
        }
        for records in batch.records.chunks(CHUNK) {
            let rows = encode(host_id, records);
            session.within(async { fill(client.copy_in(&copy).await?, rows).await }).await?;
        }
        session.run("COMMIT").await
    };
    let done = done.await;
    // What was begun must not go on with what comes next.
    session.is_spoiled |= done.is_err();
    done
}

fn copy() -> String {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    format!("COPY flow_log (host_id, {}) FROM STDIN (FORMAT binary)", names.join(", "))
}

/// What `COPY … (FORMAT binary)` takes (manual of `COPY`, "Binary Format").
fn encode(host_id: Uuid, records: &[FlowRecord]) -> Bytes {
    const FIELDS: usize = 1 + COLUMNS.len();
    const { assert!(FIELDS <= i16::MAX as usize) };
    let mut out = BytesMut::with_capacity(32 + records.len() * 512);
    out.put_slice(COPY_SIGNATURE);
    for record in records {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "asserted above"
        )]
        out.put_i16(FIELDS as i16);
        append_field(host_id.as_bytes(), &mut out);
        for column in &COLUMNS {
            append(column.value(record), &mut out);
        }
    }
    out.put_i16(-1);
    out.freeze()
}

fn append(value: Option<Value<'_>>, out: &mut BytesMut) {
    match value {
        None => out.put_i32(-1),
        Some(Value::Id(id)) => append_field(id.as_bytes(), out),
        Some(Value::Integer(integer)) => append_field(&integer.to_be_bytes(), out),
        Some(Value::Timestamp(moment)) => {
            append_field(&Moment::floor(moment).wire().to_be_bytes(), out);
        }
        Some(Value::Address(address)) => append_address(address, out),
        Some(Value::Text(text)) => append_field(escaped(text).as_bytes(), out),
        Some(Value::Name(name)) => append_field(name.as_bytes(), out),
        Some(value @ (Value::Protocol(_) | Value::TcpFlags(_))) => {
            append_field(value.to_string().as_bytes(), out);
        }
    }
}

fn append_field(bytes: &[u8], out: &mut BytesMut) {
    // No value is that long: a path has 4096 bytes at most, and names are shorter.
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

/// As `inet_send` of the server writes it: family, bits of the prefix, whether it is a network, and the
/// bytes with their number.
fn append_address(address: IpAddr, out: &mut BytesMut) {
    const IPV4: u8 = 2;
    const IPV6: u8 = 3;
    match address {
        IpAddr::V4(address) => {
            out.put_i32(8);
            out.put_slice(&[IPV4, 32, 0, 4]);
            out.put_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.put_i32(20);
            out.put_slice(&[IPV6, 128, 0, 16]);
            out.put_slice(&address.octets());
        }
    }
}
