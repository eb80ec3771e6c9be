//! What observations are about: written once, and once more from time to time, so that whoever
//! removes what is unused sees that it is used.

use std::{
    collections::{BTreeMap, HashMap},
    hash::RandomState,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use netglass_model::{Endpoint, Host, HostFlow, Listener, NamespaceInode, Process, Translation};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    codec::{Moment, escaped, port, small},
    identity,
};
use crate::columns::{attribution_number, direction_number};

/// How long what was written need not be written again; those who remove what is unused allow for
/// twice that.
pub(super) const PERIOD: Duration = Duration::from_secs(60 * 60);

/// How many rows are remembered.
const CAPACITY: usize = 1 << 18;

/// Rows that are known to be in the database.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<Uuid, Kept, RandomState>);

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Tells apart what it may hold beside its identity.
    state: Uuid,
    written: Instant,
    bucket: Moment,
}

impl Memory {
    fn holds(&self, now: Instant, id: Uuid, state: Uuid, bucket: Moment) -> bool {
        self.0.get(&id).is_some_and(|kept| {
            kept.state == state
                && now.saturating_duration_since(kept.written) < PERIOD
                && bucket.timestamp() <= kept.bucket.timestamp().saturating_add(PERIOD)
        })
    }

    /// Remembers what was written. When there is no more room all is forgotten: it is written once
    /// more then.
    pub(super) fn remember(&mut self, written: Written) {
        for (id, kept) in written.0 {
            if self.0.len() >= CAPACITY {
                self.0.clear();
            }
            self.0.insert(id, kept);
        }
    }
}

/// What is remembered, as of a moment.
#[derive(Debug, Clone, Copy)]
struct Known<'m> {
    memory: &'m Memory,
    now: Instant,
}

impl Known<'_> {
    fn holds(self, id: Uuid, state: Uuid, bucket: Moment) -> bool {
        self.memory.holds(self.now, id, state, bucket)
    }
}

/// What is to be remembered when it has been written.
#[derive(Debug)]
pub(super) struct Written(Vec<(Uuid, Kept)>);

/// Rows of one table, by id: in one order for all writers, so that no two wait for each other.
#[derive(Debug)]
struct Rows<T>(BTreeMap<Uuid, (T, Kept)>);

impl<T> Rows<T> {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, known: Known<'_>, id: Uuid, state: Uuid, bucket: Moment, row: T) {
        if let Some((present, kept)) = self.0.get_mut(&id) {
            *present = row;
            kept.state = state;
            kept.bucket = kept.bucket.max(bucket);
        } else if !known.holds(id, state, bucket) {
            self.0.insert(id, (row, Kept { state, written: known.now, bucket }));
        }
    }

    fn column<C>(&self, value: impl Fn(&T) -> C) -> Parameter
    where
        Vec<C>: ToSql + Sync + Send + 'static,
    {
        Box::new(self.0.values().map(|(row, _)| value(row)).collect::<Vec<_>>())
    }

    fn written(&self) -> impl Iterator<Item = (Uuid, Kept)> + '_ {
        self.0.iter().map(|(id, (_, kept))| (*id, *kept))
    }

    /// The statement with the columns' values, if there are any rows.
    fn statement(&self, text: &'static str, columns: Vec<Parameter>) -> Option<Insert> {
        if self.0.is_empty() {
            return None;
        }
        let ids: Parameter = Box::new(self.0.keys().copied().collect::<Vec<_>>());
        let buckets: Parameter =
            Box::new(self.0.values().map(|(_, kept)| kept.bucket).collect::<Vec<_>>());
        Some(Insert { text, parameters: [ids, buckets].into_iter().chain(columns).collect() })
    }
}

type Parameter = Box<dyn ToSql + Sync + Send>;

/// A statement with its parameters.
pub(super) struct Insert {
    pub(super) text: &'static str,
    pub(super) parameters: Vec<Parameter>,
}

/// What one flush is about, as far as it has to be written.
pub(super) struct Dimensions<'m, 'o> {
    known: Known<'m>,
    host_id: Uuid,
    /// Each with the bucket in which it was mentioned last.
    namespace_ids: HashMap<NamespaceInode, (Uuid, Option<Moment>)>,
    process_ids: HashMap<usize, Uuid>,
    hosts: Rows<&'o Host>,
    namespaces: Rows<NamespaceInode>,
    names: Rows<(NamespaceInode, Option<&'o str>)>,
    addresses: Rows<(Uuid, IpAddr)>,
    processes: Rows<&'o Process>,
    flows: Rows<(Uuid, Option<Uuid>, &'o HostFlow)>,
    listeners: Rows<(Uuid, Option<Uuid>, &'o Listener)>,
    translations: Rows<(Uuid, &'o Translation)>,
}

impl<'m, 'o> Dimensions<'m, 'o> {
    pub(super) fn new(memory: &'m Memory, host: &'o Host, bucket: Moment) -> Self {
        let known = Known { memory, now: Instant::now() };
        let host_id = identity::host(&host.id);
        let mut hosts = Rows::new();
        let state = identity::namespace(host_id, host.namespace);
        hosts.add(known, host_id, state, bucket, host);
        Self {
            known,
            host_id,
            namespace_ids: HashMap::new(),
            process_ids: HashMap::new(),
            hosts,
            namespaces: Rows::new(),
            names: Rows::new(),
            addresses: Rows::new(),
            processes: Rows::new(),
            flows: Rows::new(),
            listeners: Rows::new(),
            translations: Rows::new(),
        }
    }

    fn namespace_id(&mut self, inode: NamespaceInode) -> Uuid {
        let host_id = self.host_id;
        let named = || identity::namespace(host_id, inode);
        self.namespace_ids.entry(inode).or_insert_with(|| (named(), None)).0
    }

    fn namespace(&mut self, inode: NamespaceInode, bucket: Moment) -> Uuid {
        let id = self.namespace_id(inode);
        let mentioned = self.namespace_ids.get_mut(&inode).map(|(_, mentioned)| mentioned);
        if mentioned.is_some_and(|last| last.replace(bucket) != Some(bucket)) {
            // Remembered apart from its name: whoever only mentions it does not know that.
            let key = identity::address(id, IpAddr::from([0; 4]));
            self.namespaces.add(self.known, key, Uuid::nil(), bucket, inode);
        }
        id
    }

    pub(super) fn name(&mut self, inode: NamespaceInode, name: Option<&'o str>, bucket: Moment) {
        let id = self.namespace_id(inode);
        let state = identity::text_state(name);
        self.names.add(self.known, id, state, bucket, (inode, name));
    }

    pub(super) fn address(
        &mut self,
        inode: NamespaceInode,
        address: IpAddr,
        bucket: Moment,
    ) -> Uuid {
        let namespace = self.namespace(inode, bucket);
        let address = address.to_canonical();
        let id = identity::address(namespace, address);
        self.addresses.add(self.known, id, Uuid::nil(), bucket, (namespace, address));
        id
    }

    fn process(&mut self, process: Option<&'o Arc<Process>>, bucket: Moment) -> Option<Uuid> {
        let process = process?;
        let host_id = self.host_id;
        let known = self.process_ids.entry(Arc::as_ptr(process).addr());
        let id = *known.or_insert_with(|| identity::process(host_id, process));
        let state = identity::process_state(process);
        self.processes.add(self.known, id, state, bucket, process);
        Some(id)
    }

    pub(super) fn flow(&mut self, flow: &'o HostFlow, bucket: Moment) -> Uuid {
        let namespace = self.namespace(flow.namespace, bucket);
        let process = self.process(flow.process.as_ref(), bucket);
        let id = identity::flow(namespace, process, flow);
        self.flows.add(self.known, id, Uuid::nil(), bucket, (namespace, process, flow));
        id
    }

    pub(super) fn listener(&mut self, listener: &'o Listener, bucket: Moment) -> Uuid {
        let namespace = self.namespace(listener.namespace, bucket);
        let process = self.process(listener.process.as_ref(), bucket);
        let id = identity::listener(namespace, process, listener);
        let row = (namespace, process, listener);
        self.listeners.add(self.known, id, Uuid::nil(), bucket, row);
        id
    }

    pub(super) fn translation(&mut self, translation: &'o Translation, bucket: Moment) -> Uuid {
        let namespace = self.namespace(translation.namespace, bucket);
        let id = identity::translation(namespace, translation);
        self.translations.add(self.known, id, Uuid::nil(), bucket, (namespace, translation));
        id
    }

    /// The statements that write them, and what is known of the database after that.
    pub(super) fn finish(self) -> (Vec<Insert>, Written) {
        let host_id = self.host_id;
        let id_of = |inode: NamespaceInode| identity::namespace(host_id, inode);
        let hosts = self.hosts.statement(
            HOST,
            vec![
                self.hosts.column(|host| escaped(&host.id.machine_id).into_owned()),
                self.hosts.column(|host| escaped(&host.id.hostname).into_owned()),
                self.hosts.column(|host| host.namespace.0.cast_signed()),
            ],
        );
        let namespaces = self.namespaces.statement(
            NAMESPACE,
            vec![
                self.namespaces.column(move |inode| id_of(*inode)),
                self.namespaces.column(move |_| host_id),
                self.namespaces.column(|inode| inode.0.cast_signed()),
            ],
        );
        let names = self.names.statement(
            NAME,
            vec![
                self.names.column(move |_| host_id),
                self.names.column(|(inode, _)| inode.0.cast_signed()),
                self.names.column(|(_, name)| name.map(|name| escaped(name).into_owned())),
            ],
        );
        let addresses = self.addresses.statement(
            ADDRESS,
            vec![
                self.addresses.column(|(namespace, _)| *namespace),
                self.addresses.column(|(_, address)| *address),
            ],
        );
        let written = self
            .hosts
            .written()
            .chain(self.namespaces.written())
            .chain(self.names.written())
            .chain(self.addresses.written())
            .chain(self.processes.written())
            .chain(self.flows.written())
            .chain(self.listeners.written())
            .chain(self.translations.written());
        let written = Written(written.collect());
        let inserts = [
            hosts,
            // Before those that only mention one: they leave its name alone.
            names,
            namespaces,
            addresses,
            processes(host_id, &self.processes),
            flows(&self.flows),
            listeners(&self.listeners),
            translations(&self.translations),
        ];
        (inserts.into_iter().flatten().collect(), written)
    }
}

fn processes(host_id: Uuid, rows: &Rows<&Process>) -> Option<Insert> {
    let text = |text: &Option<String>| text.as_deref().map(|text| escaped(text).into_owned());
    rows.statement(
        PROCESS,
        vec![
            rows.column(move |_| host_id),
            rows.column(|process| i64::from(process.pid)),
            rows.column(|process| process.start_time.as_nanoseconds()),
            rows.column(|process| escaped(&process.comm).into_owned()),
            rows.column(|process| text(&process.exe)),
            rows.column(|process| i64::from(process.pgid)),
            rows.column(|process| i64::from(process.ppid)),
            rows.column(|process| i64::from(process.family)),
            rows.column(|process| process.uid.map(i64::from)),
            rows.column(|process| process.gid.map(i64::from)),
            rows.column(|process| text(&process.cgroup)),
            rows.column(|process| text(&process.container)),
            rows.column(|process| text(&process.command_line)),
        ],
    )
}

fn flows(rows: &Rows<(Uuid, Option<Uuid>, &HostFlow)>) -> Option<Insert> {
    rows.statement(
        FLOW,
        vec![
            rows.column(|(namespace, ..)| *namespace),
            rows.column(|(.., flow)| i16::from(flow.protocol.number())),
            rows.column(|(.., flow)| small(direction_number(flow.direction))),
            rows.column(|(.., flow)| canonical(flow.local)),
            rows.column(|(.., flow)| port(flow.local)),
            rows.column(|(.., flow)| canonical(flow.peer)),
            rows.column(|(.., flow)| port(flow.peer)),
            rows.column(|(_, process, _)| *process),
            rows.column(|(.., flow)| small(attribution_number(flow.attribution))),
        ],
    )
}

fn listeners(rows: &Rows<(Uuid, Option<Uuid>, &Listener)>) -> Option<Insert> {
    rows.statement(
        LISTENER,
        vec![
            rows.column(|(namespace, ..)| *namespace),
            rows.column(|(.., listener)| i16::from(listener.protocol.number())),
            rows.column(|(.., listener)| canonical(listener.local)),
            rows.column(|(.., listener)| port(listener.local)),
            rows.column(|(_, process, _)| *process),
        ],
    )
}

fn translations(rows: &Rows<(Uuid, &Translation)>) -> Option<Insert> {
    rows.statement(
        TRANSLATION,
        vec![
            rows.column(|(namespace, _)| *namespace),
            rows.column(|(_, one)| i16::from(one.protocol.number())),
            rows.column(|(_, one)| one.original.client.to_canonical()),
            rows.column(|(_, one)| canonical(one.original.server)),
            rows.column(|(_, one)| port(one.original.server)),
            rows.column(|(_, one)| one.translated.client.to_canonical()),
            rows.column(|(_, one)| canonical(one.translated.server)),
            rows.column(|(_, one)| port(one.translated.server)),
        ],
    )
}

fn canonical(endpoint: Endpoint) -> IpAddr {
    endpoint.address.to_canonical()
}

// The first parameter is the rows' ids, the second their buckets. A row counts as used from the
// moment on that the server knows, however wrong the writer's clock is.

const HOST: &str = "
    INSERT INTO host (host_id, machine_id, hostname, namespace)
    SELECT id, machine_id, hostname, namespace
    FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[])
        t (id, bucket, machine_id, hostname, namespace)
    ON CONFLICT (host_id) DO UPDATE SET namespace = excluded.namespace";

const NAMESPACE: &str = "
    INSERT INTO namespace (namespace_id, host_id, inode, last_bucket)
    SELECT namespace, host, inode, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::bigint[])
        t (id, bucket, namespace, host, inode)
    ON CONFLICT (namespace_id) DO UPDATE
        SET last_bucket = greatest(namespace.last_bucket, excluded.last_bucket)";

const NAME: &str = "
    INSERT INTO namespace (namespace_id, host_id, inode, name, last_bucket)
    SELECT id, host, inode, name, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::text[])
        t (id, bucket, host, inode, name)
    ON CONFLICT (namespace_id) DO UPDATE SET name = excluded.name,
        last_bucket = greatest(namespace.last_bucket, excluded.last_bucket)";

const ADDRESS: &str = "
    INSERT INTO host_address (address_id, namespace_id, address, last_bucket)
    SELECT id, namespace, address, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::inet[])
        t (id, bucket, namespace, address)
    ON CONFLICT (address_id) DO UPDATE
        SET last_bucket = greatest(host_address.last_bucket, excluded.last_bucket)";

const PROCESS: &str = "
    INSERT INTO process (process_id, host_id, pid, start_time, comm, exe, pgid, ppid, family, uid,
        gid, cgroup, container, command_line, last_bucket)
    SELECT id, host, pid, start_time, comm, exe, pgid, ppid, family, uid, gid, cgroup, container,
        command_line, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[],
        $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::text[], $14::text[], $15::text[])
        t (id, bucket, host, pid, start_time, comm, exe, pgid, ppid, family, uid, gid, cgroup,
            container, command_line)
    ON CONFLICT (process_id) DO UPDATE SET pgid = excluded.pgid, ppid = excluded.ppid,
        family = excluded.family, uid = excluded.uid, gid = excluded.gid,
        cgroup = excluded.cgroup, container = excluded.container,
        command_line = excluded.command_line,
        last_bucket = greatest(process.last_bucket, excluded.last_bucket)";

const FLOW: &str = "
    INSERT INTO flow (flow_id, namespace_id, protocol, direction, local_address, local_port,
        peer_address, peer_port, process_id, attribution, last_bucket)
    SELECT id, namespace, protocol, direction, local_address, local_port, peer_address, peer_port,
        process, attribution, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::smallint[], $5::smallint[],
        $6::inet[], $7::integer[], $8::inet[], $9::integer[], $10::uuid[], $11::smallint[])
        t (id, bucket, namespace, protocol, direction, local_address, local_port, peer_address,
            peer_port, process, attribution)
    ON CONFLICT (flow_id) DO UPDATE
        SET last_bucket = greatest(flow.last_bucket, excluded.last_bucket)";

const LISTENER: &str = "
    INSERT INTO listener (listener_id, namespace_id, protocol, local_address, local_port,
        process_id, last_bucket)
    SELECT id, namespace, protocol, local_address, local_port, process, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::smallint[], $5::inet[],
        $6::integer[], $7::uuid[])
        t (id, bucket, namespace, protocol, local_address, local_port, process)
    ON CONFLICT (listener_id) DO UPDATE
        SET last_bucket = greatest(listener.last_bucket, excluded.last_bucket)";

const TRANSLATION: &str = "
    INSERT INTO translation (translation_id, namespace_id, protocol, original_client,
        original_server, original_port, translated_client, translated_server, translated_port,
        last_bucket)
    SELECT id, namespace, protocol, original_client, original_server, original_port,
        translated_client, translated_server, translated_port, greatest(now(), bucket)
    FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::smallint[], $5::inet[], $6::inet[],
        $7::integer[], $8::inet[], $9::inet[], $10::integer[])
        t (id, bucket, namespace, protocol, original_client, original_server, original_port,
            translated_client, translated_server, translated_port)
    ON CONFLICT (translation_id) DO UPDATE
        SET last_bucket = greatest(translation.last_bucket, excluded.last_bucket)";
