//! Adding what a probe saw.

use std::{collections::HashMap, sync::Arc, time::Duration};

use netglass_model::{
    Flush, Host, HostAddress, HostFlow, Listener, NamespaceInode, NetworkNamespace, Observations,
    Process, Timestamp, Translation,
};
use rusqlite::{
    Connection, OptionalExtension, Statement, ToSql, Transaction, TransactionBehavior, params,
    params_from_iter,
};

use super::{
    codec::{AddressColumn, attribution_number, count_to_column, direction_number},
    counters,
    fault::Fault,
    probe,
};
use crate::resolution::Resolution;

/// Adds what `flush` holds in time buckets of length `bucket`: all of it, or none; nothing where it
/// has arrived before.
pub(super) fn write(
    connection: &mut Connection,
    bucket: Duration,
    flush: &Flush,
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let host_id = host_id(&transaction, &flush.observations.host)?;
    if probe::arrived(&transaction, host_id, flush)? {
        Writer::new(&transaction, bucket, host_id)?.write(&flush.observations, flush.at)?;
    }
    transaction.commit()?;
    Ok(())
}

/// When something was seen.
#[derive(Debug, Clone, Copy)]
struct Span {
    bucket: i64,
    first: i64,
    last: i64,
}

impl Span {
    fn new(first: Timestamp, last: Timestamp, bucket: Duration) -> Self {
        Self {
            bucket: last.bucket(bucket).as_nanoseconds(),
            // A clock that was set back must not hide the observation from every window.
            first: first.min(last).as_nanoseconds(),
            last: last.as_nanoseconds(),
        }
    }

    /// The bucket of each resolution.
    fn buckets(self) -> [(Resolution, i64); 3] {
        Resolution::ALL.map(|resolution| {
            let written = Timestamp::from_nanoseconds(self.bucket);
            let bucket = resolution.length().map_or(written, |length| written.bucket(length));
            (resolution, bucket.as_nanoseconds())
        })
    }
}

/// How far observations reach from the starts of their buckets, at each resolution.
#[derive(Debug, Default)]
struct Reach([i64; 3]);

impl Reach {
    fn add(&mut self, span: Span) {
        for (reach, (_, bucket)) in self.0.iter_mut().zip(span.buckets()) {
            let farthest = span.last.saturating_sub(bucket).max(bucket.saturating_sub(span.first));
            *reach = farthest.max(*reach);
        }
    }
}

/// A dimension table whose rows are known by a key, and remember their newest bucket.
struct Dimension<'c> {
    find: Statement<'c>,
    insert: Statement<'c>,
    touch: Statement<'c>,
}

impl<'c> Dimension<'c> {
    fn new(
        transaction: &'c Transaction<'_>,
        find: &str,
        insert: &str,
        touch: &str,
    ) -> Result<Self, Fault> {
        Ok(Self {
            find: transaction.prepare(find)?,
            insert: transaction.prepare(insert)?,
            touch: transaction.prepare(touch)?,
        })
    }

    /// The id of the row with `identity`, which is observed in `bucket`.
    fn id(&mut self, identity: &[&dyn ToSql], bucket: i64) -> Result<i64, Fault> {
        let found = self
            .find
            .query_row(identity, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        if let Some((id, last_bucket)) = found {
            if last_bucket < bucket {
                self.touch.execute((id, bucket))?;
            }
            return Ok(id);
        }
        let bucket: &dyn ToSql = &bucket;
        let row = identity.iter().copied().chain([bucket]);
        Ok(self.insert.insert(params_from_iter(row))?)
    }
}

struct Writer<'c, 'o> {
    transaction: &'c Transaction<'c>,
    bucket: Duration,
    host_id: i64,
    namespaces: HashMap<NamespaceInode, i64>,
    processes: HashMap<&'o Process, i64>,
    namespace: Dimension<'c>,
    address: Dimension<'c>,
    flow: Dimension<'c>,
    listener: Dimension<'c>,
    translation: Dimension<'c>,
    address_observation: Statement<'c>,
    flow_observation: Statement<'c>,
    listener_observation: Statement<'c>,
    translation_observation: Statement<'c>,
}

impl<'c, 'o> Writer<'c, 'o> {
    fn new(
        transaction: &'c Transaction<'_>,
        bucket: Duration,
        host_id: i64,
    ) -> Result<Self, Fault> {
        Ok(Self {
            transaction,
            bucket,
            host_id,
            namespaces: HashMap::new(),
            processes: HashMap::new(),
            namespace: Dimension::new(
                transaction,
                "SELECT namespace_id, last_bucket FROM namespace WHERE host_id = ?1 AND inode = ?2",
                "INSERT INTO namespace (host_id, inode, last_bucket) VALUES (?1, ?2, ?3)",
                "UPDATE namespace SET last_bucket = ?2 WHERE namespace_id = ?1",
            )?,
            address: Dimension::new(
                transaction,
                "SELECT address_id, last_bucket FROM host_address
                 WHERE namespace_id = ?1 AND address = ?2",
                "INSERT INTO host_address (namespace_id, address, last_bucket) VALUES (?1, ?2, ?3)",
                "UPDATE host_address SET last_bucket = ?2 WHERE address_id = ?1",
            )?,
            flow: Dimension::new(
                transaction,
                "SELECT flow_id, last_bucket FROM flow
                 WHERE namespace_id = ?1 AND protocol = ?2 AND direction = ?3
                   AND local_address = ?4 AND local_port IS ?5
                   AND peer_address = ?6 AND peer_port IS ?7
                   AND process_id IS ?8 AND attribution = ?9",
                "INSERT INTO flow
                    (namespace_id, protocol, direction, local_address, local_port, peer_address,
                     peer_port, process_id, attribution, last_bucket)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                "UPDATE flow SET last_bucket = ?2 WHERE flow_id = ?1",
            )?,
            listener: Dimension::new(
                transaction,
                "SELECT listener_id, last_bucket FROM listener
                 WHERE namespace_id = ?1 AND protocol = ?2 AND local_address = ?3
                   AND local_port IS ?4 AND process_id IS ?5",
                "INSERT INTO listener
                    (namespace_id, protocol, local_address, local_port, process_id, last_bucket)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                "UPDATE listener SET last_bucket = ?2 WHERE listener_id = ?1",
            )?,
            translation: Dimension::new(
                transaction,
                "SELECT translation_id, last_bucket FROM translation
                 WHERE namespace_id = ?1 AND protocol = ?2 AND original_client = ?3
                   AND original_server = ?4 AND original_port IS ?5 AND translated_client = ?6
                   AND translated_server = ?7 AND translated_port IS ?8",
                "INSERT INTO translation
                    (namespace_id, protocol, original_client, original_server, original_port,
                     translated_client, translated_server, translated_port, last_bucket)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                "UPDATE translation SET last_bucket = ?2 WHERE translation_id = ?1",
            )?,
            address_observation: transaction.prepare(&seen_again("address"))?,
            flow_observation: transaction.prepare(&flow_observation())?,
            listener_observation: transaction.prepare(&seen_again("listener"))?,
            translation_observation: transaction.prepare(&translation_observation())?,
        })
    }

    fn write(mut self, observations: &'o Observations, at: Timestamp) -> Result<(), Fault> {
        let whole = self.whole_span(observations, at);
        let mut reach = Reach::default();
        reach.add(whole);
        for namespace in &observations.namespaces {
            self.name_namespace(namespace, whole.bucket)?;
        }
        for address in &observations.host.addresses {
            self.write_address(address, whole)?;
        }
        for flow in &observations.flows {
            reach.add(self.write_flow(flow)?);
        }
        for listener in &observations.listeners {
            reach.add(self.write_listener(listener)?);
        }
        for translation in &observations.translations {
            reach.add(self.write_translation(translation)?);
        }
        for (resolution, reach) in Resolution::ALL.into_iter().zip(reach.0) {
            self.transaction.execute(
                "UPDATE extent SET reach = ?1 WHERE resolution = ?2 AND reach < ?1",
                (reach, resolution),
            )?;
        }
        Ok(())
    }

    /// The time that all of the observations cover; `at` where they say nothing about it.
    fn whole_span(&self, observations: &Observations, at: Timestamp) -> Span {
        let flows = observations.flows.iter().map(|flow| (flow.first_seen, flow.last_seen));
        let listeners = observations.listeners.iter().map(|one| (one.first_seen, one.last_seen));
        let (first, last) = flows
            .chain(listeners)
            .reduce(|(first, last), next| (first.min(next.0), last.max(next.1)))
            .unwrap_or((at, at));
        Span::new(first, last, self.bucket)
    }

    fn namespace_id(&mut self, inode: NamespaceInode, bucket: i64) -> Result<i64, Fault> {
        if let Some(&id) = self.namespaces.get(&inode) {
            return Ok(id);
        }
        let number = inode.0.cast_signed();
        let id = self.namespace.id(&[&self.host_id, &number], bucket)?;
        self.namespaces.insert(inode, id);
        Ok(id)
    }

    fn name_namespace(&mut self, namespace: &NetworkNamespace, bucket: i64) -> Result<(), Fault> {
        let id = self.namespace_id(namespace.inode, bucket)?;
        self.transaction.execute(
            "UPDATE namespace SET name = ?2 WHERE namespace_id = ?1 AND name IS NOT ?2",
            (id, &namespace.name),
        )?;
        Ok(())
    }

    fn write_address(&mut self, address: &HostAddress, span: Span) -> Result<(), Fault> {
        let namespace_id = self.namespace_id(address.namespace, span.bucket)?;
        let bytes = AddressColumn::new(address.address);
        let id = self.address.id(&[&namespace_id, &bytes], span.bucket)?;
        for (resolution, bucket) in span.buckets() {
            self.address_observation.execute((resolution, bucket, id, span.first, span.last))?;
        }
        Ok(())
    }

    fn process_id(&mut self, process: Option<&'o Arc<Process>>) -> Result<Option<i64>, Fault> {
        let Some(process) = process else { return Ok(None) };
        if let Some(&id) = self.processes.get(&**process) {
            return Ok(Some(id));
        }
        let id = process_id(self.transaction, self.host_id, process)?;
        self.processes.insert(process, id);
        Ok(Some(id))
    }

    fn write_flow(&mut self, flow: &'o HostFlow) -> Result<Span, Fault> {
        let span = Span::new(flow.first_seen, flow.last_seen, self.bucket);
        let namespace_id = self.namespace_id(flow.namespace, span.bucket)?;
        let process_id = self.process_id(flow.process.as_ref())?;
        let id = self.flow.id(
            &[
                &namespace_id,
                &flow.protocol.number(),
                &direction_number(flow.direction),
                &AddressColumn::new(flow.local.address),
                &flow.local.port.number(),
                &AddressColumn::new(flow.peer.address),
                &flow.peer.port.number(),
                &process_id,
                &attribution_number(flow.attribution),
            ],
            span.bucket,
        )?;
        let counters = counters::to_columns(&flow.counters);
        for (resolution, bucket) in span.buckets() {
            let seen: [&dyn ToSql; 5] = [&resolution, &bucket, &id, &span.first, &span.last];
            let counters = counters.iter().map(|counter| counter as &dyn ToSql);
            self.flow_observation.execute(params_from_iter(seen.into_iter().chain(counters)))?;
        }
        Ok(span)
    }

    fn write_listener(&mut self, listener: &'o Listener) -> Result<Span, Fault> {
        let span = Span::new(listener.first_seen, listener.last_seen, self.bucket);
        let namespace_id = self.namespace_id(listener.namespace, span.bucket)?;
        let process_id = self.process_id(listener.process.as_ref())?;
        let id = self.listener.id(
            &[
                &namespace_id,
                &listener.protocol.number(),
                &AddressColumn::new(listener.local.address),
                &listener.local.port.number(),
                &process_id,
            ],
            span.bucket,
        )?;
        for (resolution, bucket) in span.buckets() {
            self.listener_observation.execute((resolution, bucket, id, span.first, span.last))?;
        }
        Ok(span)
    }

    fn write_translation(&mut self, translation: &Translation) -> Result<Span, Fault> {
        let Translation { original, translated, .. } = translation;
        let span = Span::new(translation.first_seen, translation.last_seen, self.bucket);
        let namespace_id = self.namespace_id(translation.namespace, span.bucket)?;
        let id = self.translation.id(
            &[
                &namespace_id,
                &translation.protocol.number(),
                &AddressColumn::new(original.client),
                &AddressColumn::new(original.server.address),
                &original.server.port.number(),
                &AddressColumn::new(translated.client),
                &AddressColumn::new(translated.server.address),
                &translated.server.port.number(),
            ],
            span.bucket,
        )?;
        for (resolution, bucket) in span.buckets() {
            self.translation_observation.execute((
                resolution,
                bucket,
                id,
                span.first,
                span.last,
                count_to_column(translation.connections),
                count_to_column(translation.opened),
            ))?;
        }
        Ok(span)
    }
}

/// The statement that keeps what was counted of a flow within a bucket.
fn flow_observation() -> String {
    let columns = counters::NAMES.join(", ");
    let values = vec!["?"; counters::COLUMNS].join(", ");
    let merged = counters::merged();
    format!(
        "INSERT INTO flow_observation (resolution, bucket, flow_id, first_seen, last_seen, {columns})
         VALUES (?, ?, ?, ?, ?, {values})
         ON CONFLICT (resolution, bucket, flow_id) DO UPDATE SET {MERGED_TIMES}, {merged}"
    )
}

/// The statement that keeps how many connections were translated within a bucket.
fn translation_observation() -> String {
    let merged = counters::merged_connections();
    format!(
        "INSERT INTO translation_observation
            (resolution, bucket, translation_id, first_seen, last_seen, connections, opened)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (resolution, bucket, translation_id) DO UPDATE SET {MERGED_TIMES}, {merged}"
    )
}

/// The statement that keeps when a listener or an address was seen within a bucket.
fn seen_again(what: &str) -> String {
    format!(
        "INSERT INTO {what}_observation (resolution, bucket, {what}_id, first_seen, last_seen)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (resolution, bucket, {what}_id) DO UPDATE SET {MERGED_TIMES}"
    )
}

/// What a row that is written again keeps of when something was seen.
const MERGED_TIMES: &str = "first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)";

fn host_id(transaction: &Transaction<'_>, host: &Host) -> Result<i64, Fault> {
    let namespace = host.namespace.0.cast_signed();
    let id = transaction.query_row(
        "INSERT INTO host (machine_id, hostname, namespace) VALUES (?1, ?2, ?3)
         ON CONFLICT (machine_id, hostname) DO UPDATE SET namespace = excluded.namespace
         RETURNING host_id",
        (&host.id.machine_id, &host.id.hostname, namespace),
        |row| row.get(0),
    )?;
    Ok(id)
}

/// The id of a process. What is not part of its identity is kept as it was seen last.
fn process_id(
    transaction: &Transaction<'_>,
    host_id: i64,
    process: &Process,
) -> Result<i64, Fault> {
    let found = transaction
        .query_row(
            "SELECT process_id FROM process
             WHERE host_id = ?1 AND pid = ?2 AND start_time = ?3 AND comm = ?4 AND exe IS ?5",
            (
                host_id,
                process.pid,
                process.start_time.as_nanoseconds(),
                &process.comm,
                &process.exe,
            ),
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    if let Some(id) = found {
        transaction.execute(
            "UPDATE process
             SET pgid = ?2, ppid = ?3, family = ?4, uid = ?5, gid = ?6, cgroup = ?7, container = ?8,
                command_line = ?9
             WHERE process_id = ?1 AND (pgid <> ?2 OR ppid <> ?3 OR family <> ?4 OR uid IS NOT ?5
                OR gid IS NOT ?6 OR cgroup IS NOT ?7 OR container IS NOT ?8
                OR command_line IS NOT ?9)",
            params![
                id,
                process.pgid,
                process.ppid,
                process.family,
                process.uid,
                process.gid,
                process.cgroup,
                process.container,
                process.command_line,
            ],
        )?;
        return Ok(id);
    }
    transaction.execute(
        "INSERT INTO process (host_id, pid, start_time, comm, exe, pgid, ppid, family, uid, gid,
            cgroup, container, command_line)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            host_id,
            process.pid,
            process.start_time.as_nanoseconds(),
            process.comm,
            process.exe,
            process.pgid,
            process.ppid,
            process.family,
            process.uid,
            process.gid,
            process.cgroup,
            process.container,
            process.command_line,
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}
