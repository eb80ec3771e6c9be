//! Reading what is kept.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use netglass_model::{
    FlowCounters, Host, HostAddress, HostFlow, HostId, Listener, NamespaceInode, NetworkNamespace,
    Process, Route, Timestamp, Translation,
};
use rusqlite::{OptionalExtension, Row, Statement, Transaction};

use super::{
    codec, counters,
    fault::Fault,
    observation::{FIRST_SEEN, LAST_SEEN, OTHERS, Observations, Visit},
    select::{self, Ids},
};
use crate::{Family, Selection, Window};

/// Every host, with its addresses within the window.
pub(super) fn hosts(transaction: &Transaction<'_>, window: Window) -> Result<Vec<Host>, Fault> {
    let mut hosts = HashMap::new();
    let mut statement = transaction.prepare(
        "SELECT host_id, machine_id, hostname, namespace FROM host WHERE namespace IS NOT NULL",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let host = Host { id: host_id(row, 1)?, namespace: inode(row, 3)?, addresses: Vec::new() };
        hosts.insert(row.get::<_, i64>(0)?, host);
    }

    let mut seen = BTreeSet::new();
    Observations::new(transaction, "address", &[], window)?.each(&mut |id, _| {
        seen.insert(id);
        Ok(())
    })?;
    let mut statement = transaction.prepare(
        "SELECT host_id, inode, address FROM host_address JOIN namespace USING (namespace_id)
         WHERE address_id = ?1",
    )?;
    for id in seen {
        let mut rows = statement.query((id,))?;
        let row = rows.next()?.ok_or_else(|| dangling("an observation", "address"))?;
        let host = hosts.get_mut(&row.get(0)?).ok_or_else(|| dangling("an address", "host"))?;
        host.addresses
            .push(HostAddress { namespace: inode(row, 1)?, address: codec::address(row, 2)? });
    }

    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| a.id.cmp(&b.id));
    for host in &mut hosts {
        host.addresses.sort_unstable();
        host.addresses.dedup();
    }
    Ok(hosts)
}

/// The namespaces of these hosts.
pub(super) fn namespaces(
    transaction: &Transaction<'_>,
    hosts: &[HostId],
    visit: &mut dyn FnMut(&HostId, NetworkNamespace),
) -> Result<(), Fault> {
    let mut statement = transaction.prepare(
        "SELECT inode, name FROM namespace JOIN host USING (host_id)
         WHERE machine_id = ?1 AND hostname = ?2",
    )?;
    for host in hosts {
        let mut rows = statement.query((&host.machine_id, &host.hostname))?;
        while let Some(row) = rows.next()? {
            visit(host, NetworkNamespace { inode: inode(row, 0)?, name: row.get(1)? });
        }
    }
    Ok(())
}

/// Every observation of a flow that touches the window, in order of time.
pub(super) fn flows(
    transaction: &Transaction<'_>,
    window: Window,
    wanted: Option<&Selection>,
    visit: &mut dyn FnMut(&HostId, HostFlow),
) -> Result<(), Fault> {
    let mut dimensions = Dimensions::new(transaction)?;
    let mut find = transaction.prepare(
        "SELECT namespace_id, process_id, protocol, direction, local_address, local_port,
            peer_address, peer_port, attribution
         FROM flow WHERE flow_id = ?1",
    )?;
    let mut known: HashMap<i64, (Arc<HostId>, HostFlow)> = HashMap::new();

    let wanted = wanted.map(|wanted| select::flows(transaction, wanted)).transpose()?;
    // Where a few flows are read, each comes by itself, and what was seen of it is put together.
    let is_narrow = wanted.is_some();
    let mut last: Option<(i64, Arc<HostId>, HostFlow)> = None;
    let mut observations = Observations::new(transaction, "flow", &counters::NAMES, window)?;
    visit_wanted(&mut observations, wanted, &mut |id, row| {
        let counters = counters::from_row(row, OTHERS)?;
        let (first_seen, last_seen) = times(row)?;
        if let Some((_, _, flow)) = last.as_mut().filter(|(last, ..)| is_narrow && *last == id) {
            flow.counters.append(&counters);
            flow.first_seen = flow.first_seen.min(first_seen);
            flow.last_seen = flow.last_seen.max(last_seen);
            return Ok(());
        }
        let (host, flow) = match known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(flow(&mut find, id, &mut dimensions)?),
        };
        let observed = HostFlow { counters, first_seen, last_seen, ..flow.clone() };
        if let Some((_, host, flow)) = last.replace((id, Arc::clone(host), observed)) {
            visit(&host, flow);
        }
        Ok(())
    })?;
    if let Some((_, host, flow)) = last {
        visit(&host, flow);
    }
    Ok(())
}

/// Every observation of a listener that touches the window, in order of time.
pub(super) fn listeners(
    transaction: &Transaction<'_>,
    window: Window,
    wanted: Option<&Selection>,
    visit: &mut dyn FnMut(&HostId, Listener),
) -> Result<(), Fault> {
    let mut dimensions = Dimensions::new(transaction)?;
    let mut find = transaction.prepare(
        "SELECT namespace_id, process_id, protocol, local_address, local_port
         FROM listener WHERE listener_id = ?1",
    )?;
    let mut known: HashMap<i64, (Arc<HostId>, Listener)> = HashMap::new();

    let wanted = wanted.map(|wanted| select::listeners(transaction, wanted)).transpose()?;
    let mut observations = Observations::new(transaction, "listener", &[], window)?;
    visit_wanted(&mut observations, wanted, &mut |id, row| {
        let (host, listener) = match known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(listener(&mut find, id, &mut dimensions)?),
        };
        let (first_seen, last_seen) = times(row)?;
        visit(host, Listener { first_seen, last_seen, ..listener.clone() });
        Ok(())
    })
}

/// The processes of these families that have a flow or a listener within the window, and what else
/// they were then.
pub(super) fn members(
    transaction: &Transaction<'_>,
    window: Window,
    families: &[Family],
    visit: &mut dyn FnMut(&HostId, Arc<Process>),
) -> Result<(), Fault> {
    let mut dimensions = Dimensions::new(transaction)?;
    let mut kinds = Vec::new();
    for what in ["flow", "listener"] {
        let owned = format!("SELECT {what}_id FROM {what} WHERE process_id = ?1");
        let observations = Observations::new(transaction, what, &[], window)?;
        kinds.push((transaction.prepare(&owned)?, observations));
    }
    for (id, host) in select::processes(transaction, families)? {
        let mut is_seen = false;
        for (owned, observations) in &mut kinds {
            let mut rows = owned.query((id,))?;
            while !is_seen && let Some(row) = rows.next()? {
                is_seen = observations.has(row.get(0)?)?;
            }
        }
        if is_seen {
            visit(host, dimensions.process(id)?);
        }
    }
    Ok(())
}

/// Visits the observations of those that are wanted, one after the other, or of all.
fn visit_wanted(
    observations: &mut Observations<'_>,
    wanted: Option<Ids>,
    visit: &mut Visit<'_>,
) -> Result<(), Fault> {
    let Some(wanted) = wanted else { return observations.each(visit) };
    wanted.into_iter().try_for_each(|id| observations.of_one(id, visit))
}

fn times(row: &Row<'_>) -> Result<(Timestamp, Timestamp), Fault> {
    Ok((codec::timestamp(row, FIRST_SEEN)?, codec::timestamp(row, LAST_SEEN)?))
}

/// Every observation of a translation that touches the window, in order of time.
pub(super) fn translations(
    transaction: &Transaction<'_>,
    window: Window,
    visit: &mut dyn FnMut(&HostId, Translation),
) -> Result<(), Fault> {
    let dimensions = Dimensions::new(transaction)?;
    let mut find = transaction.prepare(
        "SELECT namespace_id, protocol, original_client, original_server, original_port,
            translated_client, translated_server, translated_port
         FROM translation WHERE translation_id = ?1",
    )?;
    let mut known: HashMap<i64, (Arc<HostId>, Translation)> = HashMap::new();
    let columns = ["connections", "opened"];
    Observations::new(transaction, "translation", &columns, window)?.each(&mut |id, row| {
        let (host, translation) = match known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(translation(&mut find, id, &dimensions)?),
        };
        let (first_seen, last_seen) = times(row)?;
        let observed = Translation {
            connections: codec::count(row, OTHERS)?,
            opened: codec::count(row, OTHERS + 1)?,
            first_seen,
            last_seen,
            ..*translation
        };
        visit(host, observed);
        Ok(())
    })
}

/// What flows and listeners refer to, each read once.
struct Dimensions<'c> {
    namespaces: HashMap<i64, (Arc<HostId>, NamespaceInode)>,
    processes: HashMap<i64, Arc<Process>>,
    process: Statement<'c>,
}

impl<'c> Dimensions<'c> {
    fn new(transaction: &'c Transaction<'_>) -> Result<Self, Fault> {
        let mut namespaces = HashMap::new();
        let mut hosts = HashMap::new();
        let mut statement = transaction.prepare(
            "SELECT namespace_id, inode, host_id, machine_id, hostname
             FROM namespace JOIN host USING (host_id)",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let id = Arc::new(host_id(row, 3)?);
            let host = hosts.entry(row.get::<_, i64>(2)?).or_insert(id);
            namespaces.insert(row.get(0)?, (Arc::clone(host), inode(row, 1)?));
        }
        let process = transaction.prepare(
            "SELECT pid, start_time, pgid, ppid, family, uid, gid, comm, exe, cgroup, container,
                command_line
             FROM process WHERE process_id = ?1",
        )?;
        Ok(Self { namespaces, processes: HashMap::new(), process })
    }

    /// The host and namespace with the id in the first column of a row.
    fn place(&self, row: &Row<'_>) -> Result<(Arc<HostId>, NamespaceInode), Fault> {
        let place = self.namespaces.get(&row.get(0)?);
        place.cloned().ok_or_else(|| dangling("a row", "namespace"))
    }

    /// The process, if any, with the id in the second column of a row.
    fn process_of(&mut self, row: &Row<'_>) -> Result<Option<Arc<Process>>, Fault> {
        row.get::<_, Option<i64>>(1)?.map(|id| self.process(id)).transpose()
    }

    fn process(&mut self, id: i64) -> Result<Arc<Process>, Fault> {
        if let Some(process) = self.processes.get(&id) {
            return Ok(Arc::clone(process));
        }
        let process = self
            .process
            .query_row((id,), |row| {
                Ok(Process {
                    pid: row.get(0)?,
                    start_time: Timestamp::from_nanoseconds(row.get(1)?),
                    pgid: row.get(2)?,
                    ppid: row.get(3)?,
                    family: row.get(4)?,
                    uid: row.get(5)?,
                    gid: row.get(6)?,
                    comm: row.get(7)?,
                    exe: row.get(8)?,
                    cgroup: row.get(9)?,
                    container: row.get(10)?,
                    command_line: row.get(11)?,
                })
            })
            .optional()?
            .ok_or_else(|| dangling("a row", "process"))?;
        let process = Arc::new(process);
        self.processes.insert(id, Arc::clone(&process));
        Ok(process)
    }
}

fn flow(
    find: &mut Statement<'_>,
    id: i64,
    dimensions: &mut Dimensions<'_>,
) -> Result<(Arc<HostId>, HostFlow), Fault> {
    let mut rows = find.query((id,))?;
    let row = rows.next()?.ok_or_else(|| dangling("an observation", "flow"))?;
    let (host, namespace) = dimensions.place(row)?;
    let flow = HostFlow {
        namespace,
        protocol: codec::protocol(row, 2)?,
        direction: codec::direction(row, 3)?,
        local: codec::endpoint(row, 4)?,
        peer: codec::endpoint(row, 6)?,
        process: dimensions.process_of(row)?,
        attribution: codec::attribution(row, 8)?,
        counters: FlowCounters::default(),
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, flow))
}

fn listener(
    find: &mut Statement<'_>,
    id: i64,
    dimensions: &mut Dimensions<'_>,
) -> Result<(Arc<HostId>, Listener), Fault> {
    let mut rows = find.query((id,))?;
    let row = rows.next()?.ok_or_else(|| dangling("an observation", "listener"))?;
    let (host, namespace) = dimensions.place(row)?;
    let listener = Listener {
        namespace,
        protocol: codec::protocol(row, 2)?,
        local: codec::endpoint(row, 3)?,
        process: dimensions.process_of(row)?,
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, listener))
}

fn translation(
    find: &mut Statement<'_>,
    id: i64,
    dimensions: &Dimensions<'_>,
) -> Result<(Arc<HostId>, Translation), Fault> {
    let mut rows = find.query((id,))?;
    let row = rows.next()?.ok_or_else(|| dangling("an observation", "translation"))?;
    let (host, namespace) = dimensions.place(row)?;
    let route = |column| -> Result<Route, Fault> {
        Ok(Route {
            client: codec::address(row, column)?,
            server: codec::endpoint(row, column + 1)?,
        })
    };
    let translation = Translation {
        namespace,
        protocol: codec::protocol(row, 1)?,
        original: route(2)?,
        translated: route(5)?,
        connections: 0,
        opened: 0,
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    };
    Ok((host, translation))
}

fn host_id(row: &Row<'_>, column: usize) -> Result<HostId, Fault> {
    Ok(HostId { machine_id: row.get(column)?, hostname: row.get(column + 1)? })
}

fn inode(row: &Row<'_>, column: usize) -> Result<NamespaceInode, Fault> {
    Ok(NamespaceInode(row.get::<_, i64>(column)?.cast_unsigned()))
}

fn dangling(what: &str, target: &str) -> Fault {
    Fault::Malformed(format!("{what} refers to a {target} that does not exist"))
}
