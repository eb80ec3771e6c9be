//! Reading what is kept.

use std::sync::Arc;

use foldhash::HashMap;
use netglass_model::{
    FlowCounters, Host, HostAddress, HostFlow, HostId, Listener, NamespaceInode, NetworkNamespace,
    Process, Route, Timestamp, Translation,
};
use tokio_postgres::{Client, Row, types::Type};
use uuid::Uuid;

use super::{
    ask::{any_of, ask},
    codec,
    fault::Fault,
    identity,
    observations::Observations,
    recent::Kind,
    select,
    snapshot::Moment,
};
use crate::{Family, Selection, columns::counters_from};

/// Those of which a probe reported.
const HOSTS: &str =
    "SELECT host_id, machine_id, hostname, namespace FROM host WHERE namespace IS NOT NULL";

/// Every host whose probe ever reported, with its addresses within the window.
pub(super) async fn hosts(client: &Client, moment: &mut Moment) -> Result<Vec<Host>, Fault> {
    moment.read_narrowly(client, true).await?;
    let bounds = &moment.bounds;
    let mut hosts = HashMap::default();
    let observed = bounds.observations(Kind::Address, Some("$id = a.address_id"));
    let (surely, settled) = bounds.surely_observed("a");
    let addresses = format!(
        "SELECT host_id, inode, address
         FROM host_address a JOIN namespace USING (namespace_id)
         WHERE {surely} OR EXISTS (SELECT FROM {observed})"
    );
    let mut parameters = bounds.parameters();
    parameters.push(settled);
    // Both are sent at once.
    let (rows, addresses) =
        tokio::join!(ask(client, HOSTS, &[]), ask(client, &addresses, &parameters));
    for row in &rows? {
        let host =
            Host { id: host_id(row, 1)?, namespace: codec::inode(row, 3)?, addresses: Vec::new() };
        hosts.insert(row.try_get::<_, Uuid>(0)?, host);
    }
    for row in &addresses? {
        let host = hosts.get_mut(&row.try_get(0)?).ok_or_else(|| dangling("an address", "host"))?;
        let address =
            HostAddress { namespace: codec::inode(row, 1)?, address: codec::address(row, 2)? };
        host.addresses.push(address);
    }

    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| a.id.cmp(&b.id));
    for host in &mut hosts {
        host.addresses.sort_unstable();
    }
    Ok(hosts)
}

/// The namespaces of these hosts.
pub(super) async fn namespaces(
    client: &Client,
    hosts: &[HostId],
    visit: &mut dyn FnMut(&HostId, NetworkNamespace),
) -> Result<(), Fault> {
    let hosts: HashMap<Uuid, &HostId> =
        hosts.iter().map(|host| (identity::host(host), host)).collect();
    let ids: Vec<&Uuid> = hosts.keys().collect();
    let text =
        format!("SELECT host_id, inode, name FROM namespace WHERE host_id {}", any_of(1, "uuid"));
    let rows = ask(client, &text, &[(&ids, Type::UUID_ARRAY)]).await?;
    for row in &rows {
        let Some(host) = hosts.get(&row.try_get(0)?) else { continue };
        let name = codec::maybe_text(row, 2)?;
        visit(host, NetworkNamespace { inode: codec::inode(row, 1)?, name });
    }
    Ok(())
}

/// A host and a namespace on it.
type Place = (Arc<HostId>, NamespaceInode);

/// What observations refer to, each read once.
#[derive(Default)]
pub(super) struct Dimensions {
    places: HashMap<Uuid, Place>,
    processes: HashMap<Uuid, Arc<Process>>,
}

/// What is observed, by its id, and the host where it is.
type Known<T> = HashMap<Uuid, (Arc<HostId>, T)>;

impl Dimensions {
    fn place(&self, row: &Row, column: usize) -> Result<Place, Fault> {
        let place = self.places.get(&row.try_get(column)?);
        place.cloned().ok_or_else(|| dangling("a row", "namespace"))
    }

    fn process(&self, row: &Row, column: usize) -> Result<Option<Arc<Process>>, Fault> {
        let Some(id) = row.try_get::<_, Option<Uuid>>(column)? else { return Ok(None) };
        let process = self.processes.get(&id).ok_or_else(|| dangling("a row", "process"))?;
        Ok(Some(Arc::clone(process)))
    }

    /// Reads those rows of a table that `rows` refer to in their first column, and what they refer to
    /// themselves.
    async fn learn<T>(
        &mut self,
        client: &Client,
        rows: &[Row],
        known: &mut Known<T>,
        table: &Table<T>,
    ) -> Result<(), Fault> {
        let missing = missing(rows, Some(0), known)?;
        let found = of(client, &table.of_ids(), &missing).await?;
        self.learn_of(client, &found, known, table).await
    }

    /// The same of rows that have been read.
    async fn learn_of<T>(
        &mut self,
        client: &Client,
        found: &[Row],
        known: &mut Known<T>,
        table: &Table<T>,
    ) -> Result<(), Fault> {
        self.learn_what(client, found, Some(1), table.process).await?;
        for row in found {
            known.insert(row.try_get(0)?, (table.read)(self, row)?);
        }
        Ok(())
    }

    /// Reads the namespaces and processes in these columns of `rows`.
    async fn learn_what(
        &mut self,
        client: &Client,
        rows: &[Row],
        namespace: Option<usize>,
        process: Option<usize>,
    ) -> Result<(), Fault> {
        let namespaces = missing(rows, namespace, &self.places)?;
        let processes = missing(rows, process, &self.processes)?;
        // Both are sent at once.
        let (places, processes) =
            tokio::join!(of(client, PLACE, &namespaces), of(client, PROCESS, &processes));
        for row in &places? {
            let place = (Arc::new(host_id(row, 2)?), codec::inode(row, 1)?);
            self.places.insert(row.try_get(0)?, place);
        }
        for row in &processes? {
            self.processes.insert(row.try_get(0)?, Arc::new(process_of(row)?));
        }
        Ok(())
    }
}

const PLACE: &str = "
    SELECT namespace_id, inode, machine_id, hostname
    FROM namespace JOIN host USING (host_id) WHERE namespace_id";

const PROCESS: &str = "
    SELECT process_id, pid, start_time, pgid, ppid, family, uid, gid, comm, exe, cgroup, container,
        command_line
    FROM process WHERE process_id";

/// The rows of `text`, which ends with the name of the id, for these ids.
async fn of(client: &Client, text: &str, ids: &[Uuid]) -> Result<Vec<Row>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    ask(client, &format!("{text} {}", any_of(1, "uuid")), &[(&ids, Type::UUID_ARRAY)]).await
}

/// The ids in a column, if there is one, that are not known yet.
fn missing<K>(
    rows: &[Row],
    column: Option<usize>,
    known: &HashMap<Uuid, K>,
) -> Result<Vec<Uuid>, Fault> {
    let mut missing = Vec::new();
    let Some(column) = column else { return Ok(missing) };
    for row in rows {
        let id = row.try_get::<_, Option<Uuid>>(column)?;
        missing.extend(id.filter(|id| !known.contains_key(id)));
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}

/// What is observed, and where it is kept.
struct Table<T> {
    kind: Kind,
    /// The id, the namespace, and what else is read.
    columns: &'static [&'static str],
    /// Which of the columns is the process.
    process: Option<usize>,
    read: Read<T>,
}

/// What a row tells, and of which host.
type Read<T> = fn(&Dimensions, &Row) -> Result<(Arc<HostId>, T), Fault>;

impl<T> Table<T> {
    /// What reads those of some ids, as [`of`] takes it.
    fn of_ids(&self) -> String {
        let name = self.kind.name();
        format!("SELECT {} FROM {name} WHERE {name}_id", self.columns.join(", "))
    }

    /// Gives each observation that tells of the window: of all, in order of time, or of those that
    /// were `found`.
    async fn visit(
        &self,
        client: &Client,
        moment: &mut Moment,
        found: Option<Vec<Row>>,
        mut visit: impl FnMut(&HostId, &T, &Row) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Moment { bounds, dimensions, .. } = moment;
        let mut known = Known::default();
        let ids = found.as_deref().map(ids).transpose()?;
        let mut observations = Observations::new(client, self.kind, bounds, ids.as_deref()).await?;
        // Both are sent at once.
        let found = found.unwrap_or_default();
        let learned = dimensions.learn_of(client, &found, &mut known, self);
        let (learned, rows) = tokio::join!(biased; learned, observations.next());
        learned?;
        let mut rows = rows?;
        while !rows.is_empty() {
            dimensions.learn(client, &rows, &mut known, self).await?;
            for row in &rows {
                let (host, what) = known
                    .get(&row.try_get(0)?)
                    .ok_or_else(|| dangling("an observation", self.kind.name()))?;
                visit(host, what, row)?;
            }
            rows = observations.next().await?;
        }
        Ok(())
    }
}

/// The ids in the first column, each once.
fn ids(rows: &[Row]) -> Result<Vec<Uuid>, Fault> {
    let mut ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The processes of these families that have a flow or a listener within the window, and what else
/// they were then.
pub(super) async fn members(
    client: &Client,
    moment: &mut Moment,
    families: &[Family],
    visit: &mut dyn FnMut(&HostId, Arc<Process>),
) -> Result<(), Fault> {
    moment.read_narrowly(client, true).await?;
    let bounds = &moment.bounds;
    let hosts: HashMap<Uuid, &HostId> =
        families.iter().map(|family| (identity::host(&family.host), &family.host)).collect();
    let of_families = select::Families::new(families);
    // One at a time, and no further than to the first that is seen of each.
    let seen = [Kind::Flow, Kind::Listener].map(|kind| {
        let name = kind.name();
        let of_process = format!("$id = of_process.{name}_id");
        let observed = bounds.observations(kind, Some(&of_process));
        format!(
            "EXISTS (
                SELECT FROM {name} of_process CROSS JOIN LATERAL (
                    SELECT FROM {observed} LIMIT 1) any_of_it
                WHERE of_process.process_id = p.process_id)"
        )
    });
    let mut parameters = bounds.parameters();
    let first = parameters.len() + 1;
    parameters.extend(of_families.parameters());
    let text = format!(
        "WITH p AS MATERIALIZED (
            SELECT DISTINCT ON (same.process_id) same.process_id, same.pid, same.start_time,
                same.pgid, same.ppid, same.family, same.uid, same.gid, same.comm, same.exe,
                same.cgroup, same.container, same.command_line, same.host_id
            FROM {} JOIN process m ON {}
                JOIN process same ON same.host_id = m.host_id AND same.pid = m.pid
                    AND same.start_time = m.start_time)
         SELECT * FROM p WHERE {} OR {}",
        select::Families::table(first),
        select::Families::condition("m"),
        seen[0],
        seen[1]
    );
    for row in &ask(client, &text, &parameters).await? {
        let Some(host) = hosts.get(&row.try_get(13)?) else { continue };
        visit(host, Arc::new(process_of(row)?));
    }
    Ok(())
}

/// Every flow that was observed within the window, in order of time.
pub(super) async fn flows(
    client: &Client,
    moment: &mut Moment,
    wanted: Option<&Selection>,
    visit: &mut dyn FnMut(&HostId, HostFlow),
) -> Result<(), Fault> {
    moment.read_narrowly(client, wanted.is_some()).await?;
    let found = match wanted {
        Some(wanted) => Some(select::flows(client, &moment.bounds, wanted, FLOW.columns).await?),
        None => None,
    };
    let observed = |host: &HostId, flow: &HostFlow, row: &Row| {
        let mut columns = 4..;
        let observed = HostFlow {
            counters: counters_from(|| codec::count(row, columns.next().unwrap_or_default()))?,
            first_seen: codec::timestamp(row, 2)?,
            last_seen: codec::timestamp(row, 3)?,
            ..flow.clone()
        };
        visit(host, observed);
        Ok(())
    };
    FLOW.visit(client, moment, found, observed).await
}

const FLOW: Table<HostFlow> = Table {
    kind: Kind::Flow,
    columns: &[
        "flow_id",
        "namespace_id",
        "process_id",
        "protocol",
        "direction",
        "local_address",
        "local_port",
        "peer_address",
        "peer_port",
        "attribution",
    ],
    process: Some(2),
    read: flow_of,
};

fn flow_of(dimensions: &Dimensions, row: &Row) -> Result<(Arc<HostId>, HostFlow), Fault> {
    let (host, namespace) = dimensions.place(row, 1)?;
    let flow = HostFlow {
        namespace,
        protocol: codec::protocol(row, 3)?,
        direction: codec::direction(row, 4)?,
        local: codec::endpoint(row, 5)?,
        peer: codec::endpoint(row, 7)?,
        process: dimensions.process(row, 2)?,
        attribution: codec::attribution(row, 9)?,
        counters: FlowCounters::default(),
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, flow))
}

/// Every observation of a listener that touches the window, in order of time.
pub(super) async fn listeners(
    client: &Client,
    moment: &mut Moment,
    wanted: Option<&Selection>,
    visit: &mut dyn FnMut(&HostId, Listener),
) -> Result<(), Fault> {
    moment.read_narrowly(client, wanted.is_some()).await?;
    let found = match wanted {
        Some(wanted) => {
            Some(select::listeners(client, &moment.bounds, wanted, LISTENER.columns).await?)
        }
        None => None,
    };
    let observed = |host: &HostId, listener: &Listener, row: &Row| {
        let observed = Listener {
            first_seen: codec::timestamp(row, 2)?,
            last_seen: codec::timestamp(row, 3)?,
            ..listener.clone()
        };
        visit(host, observed);
        Ok(())
    };
    LISTENER.visit(client, moment, found, observed).await
}

const LISTENER: Table<Listener> = Table {
    kind: Kind::Listener,
    columns: &[
        "listener_id",
        "namespace_id",
        "process_id",
        "protocol",
        "local_address",
        "local_port",
    ],
    process: Some(2),
    read: listener_of,
};

fn listener_of(dimensions: &Dimensions, row: &Row) -> Result<(Arc<HostId>, Listener), Fault> {
    let (host, namespace) = dimensions.place(row, 1)?;
    let listener = Listener {
        namespace,
        protocol: codec::protocol(row, 3)?,
        local: codec::endpoint(row, 4)?,
        process: dimensions.process(row, 2)?,
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, listener))
}

/// Every observation of a translation that touches the window, in order of time.
pub(super) async fn translations(
    client: &Client,
    moment: &mut Moment,
    visit: &mut dyn FnMut(&HostId, Translation),
) -> Result<(), Fault> {
    moment.read_narrowly(client, true).await?;
    let observed = |host: &HostId, translation: &Translation, row: &Row| {
        let observed = Translation {
            first_seen: codec::timestamp(row, 2)?,
            last_seen: codec::timestamp(row, 3)?,
            connections: codec::count(row, 4)?,
            opened: codec::count(row, 5)?,
            ..*translation
        };
        visit(host, observed);
        Ok(())
    };
    TRANSLATION.visit(client, moment, None, observed).await
}

const TRANSLATION: Table<Translation> = Table {
    kind: Kind::Translation,
    columns: &[
        "translation_id",
        "namespace_id",
        "protocol",
        "original_client",
        "original_server",
        "original_port",
        "translated_client",
        "translated_server",
        "translated_port",
    ],
    process: None,
    read: translation_of,
};

fn translation_of(dimensions: &Dimensions, row: &Row) -> Result<(Arc<HostId>, Translation), Fault> {
    let (host, namespace) = dimensions.place(row, 1)?;
    let translation = Translation {
        namespace,
        protocol: codec::protocol(row, 2)?,
        original: Route { client: codec::address(row, 3)?, server: codec::endpoint(row, 4)? },
        translated: Route { client: codec::address(row, 6)?, server: codec::endpoint(row, 7)? },
        connections: 0,
        opened: 0,
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, translation))
}

fn process_of(row: &Row) -> Result<Process, Fault> {
    Ok(Process {
        pid: codec::number(row, 1)?,
        start_time: Timestamp::from_nanoseconds(row.try_get(2)?),
        pgid: codec::number(row, 3)?,
        ppid: codec::number(row, 4)?,
        family: codec::number(row, 5)?,
        uid: codec::maybe_number(row, 6)?,
        gid: codec::maybe_number(row, 7)?,
        comm: codec::text(row, 8)?,
        exe: codec::maybe_text(row, 9)?,
        cgroup: codec::maybe_text(row, 10)?,
        container: codec::maybe_text(row, 11)?,
        command_line: codec::maybe_text(row, 12)?,
    })
}

fn host_id(row: &Row, column: usize) -> Result<HostId, Fault> {
    Ok(HostId { machine_id: codec::text(row, column)?, hostname: codec::text(row, column + 1)? })
}

fn dangling(what: &str, target: &str) -> Fault {
    Fault::Malformed(format!("{what} refers to a {target} that does not exist"))
}
