//! Which flows and listeners a selection is about.

use std::collections::{BTreeMap, BTreeSet};

use netglass_model::{Endpoint, HostId};
use rusqlite::{Connection, ToSql};

use super::{
    codec::{self, AddressColumn},
    fault::Fault,
};
use crate::{Family, Selection, Server, Service};

/// The ids of a dimension table's rows.
pub(super) type Ids = BTreeSet<i64>;

/// The flows that are wanted, with whatever anybody saw of their services.
pub(super) fn flows(connection: &Connection, wanted: &Selection) -> Result<Ids, Fault> {
    let mut ids = owned(connection, "flow", wanted)?;
    let mut find = |condition: &str, rows: &[Vec<&dyn ToSql>]| {
        find(connection, "flow", condition, rows, &mut ids)
    };

    let addresses: Vec<_> = wanted.addresses.iter().map(|&it| AddressColumn::new(it)).collect();
    let rows: Vec<Vec<&dyn ToSql>> = addresses.iter().map(|it| vec![it as _]).collect();
    find("local_address = ?1", &rows)?;
    find("peer_address = ?1", &rows)?;

    for Server { protocol, port, place } in &wanted.servers {
        let (protocol, port) = (protocol.number(), Some(*port));
        let address = place.address().map(AddressColumn::new);
        let mut row: Vec<&dyn ToSql> = vec![&protocol, &port];
        let mut limits = String::new();
        if let Some(host) = place.host() {
            row.extend([&host.machine_id as &dyn ToSql, &host.hostname]);
            limits = format!(" AND {}", on_host(3));
        }
        let place = address.as_ref().map(|address| {
            row.push(address);
            row.len()
        });
        let rows = [row];
        for (end, direction) in [("peer", 0), ("local", 1)] {
            let at = place.map(|place| format!(" AND {end}_address = ?{place}"));
            let condition = format!(
                "{end}_port IS ?2 AND protocol = ?1 AND direction = {direction}{limits}{}",
                at.unwrap_or_default()
            );
            find(&condition, &rows)?;
        }
    }
    of_services(connection, &wanted.services, &mut ids)?;
    let whole = services(connection, &ids)?;
    of_services(connection, &whole, &mut ids)?;
    Ok(ids)
}

/// The services of these flows.
fn services(connection: &Connection, ids: &Ids) -> Result<BTreeSet<Service>, Fault> {
    let mut statement = connection.prepare(
        "SELECT protocol, direction, local_address, local_port, peer_address, peer_port,
            machine_id, hostname
         FROM flow JOIN namespace USING (namespace_id) JOIN host USING (host_id)
         WHERE flow_id = ?1",
    )?;
    let mut services = BTreeSet::new();
    for id in ids {
        let mut rows = statement.query((id,))?;
        while let Some(row) = rows.next()? {
            let host = HostId { machine_id: row.get(6)?, hostname: row.get(7)? };
            let (protocol, direction) = (codec::protocol(row, 0)?, codec::direction(row, 1)?);
            let (local, peer) = (codec::endpoint(row, 2)?, codec::endpoint(row, 4)?);
            services.insert(Service::of_ends(&host, protocol, direction, local, peer));
        }
    }
    Ok(services)
}

/// Adds the flows of these services.
fn of_services<'s>(
    connection: &Connection,
    services: impl IntoIterator<Item = &'s Service>,
    ids: &mut Ids,
) -> Result<(), Fault> {
    let services: Vec<_> = services
        .into_iter()
        .map(|Service { protocol, server, client, host }| {
            (protocol.number(), End::new(*server), AddressColumn::new(*client), host)
        })
        .collect();
    let (mut anywhere, mut confined): (Vec<Vec<&dyn ToSql>>, Vec<_>) = (Vec::new(), Vec::new());
    for (protocol, server, client, host) in &services {
        let mut row: Vec<&dyn ToSql> = vec![protocol, &server.address, &server.port, client];
        match host {
            Some(HostId { machine_id, hostname }) => {
                row.extend([machine_id as &dyn ToSql, hostname]);
                confined.push(row);
            }
            None => anywhere.push(row),
        }
    }
    for (rows, limits) in [(anywhere, String::new()), (confined, format!(" AND {}", on_host(5)))] {
        for (server, client, direction) in [("peer", "local", 0), ("local", "peer", 1)] {
            let condition = format!(
                "{server}_address = ?2 AND {server}_port IS ?3 AND {client}_address = ?4
                    AND protocol = ?1 AND direction = {direction}{limits}"
            );
            find(connection, "flow", &condition, &rows, ids)?;
        }
    }
    Ok(())
}

/// The listeners that are wanted.
pub(super) fn listeners(connection: &Connection, wanted: &Selection) -> Result<Ids, Fault> {
    owned(connection, "listener", wanted)
}

/// The processes of these families, and what else they were, each with its host.
pub(super) fn processes<'f>(
    connection: &Connection,
    families: &'f [Family],
) -> Result<BTreeMap<i64, &'f HostId>, Fault> {
    let mut statement = connection.prepare(&format!(
        "SELECT same.process_id FROM process member JOIN process same USING (host_id, pid, start_time)
         WHERE {OF_FAMILY}"
    ))?;
    let mut processes = BTreeMap::new();
    for family in families {
        let mut rows = statement.query(family_row(family).as_slice())?;
        while let Some(row) = rows.next()? {
            processes.insert(row.get(0)?, &family.host);
        }
    }
    Ok(processes)
}

const OF_FAMILY: &str =
    "member.host_id = (SELECT host_id FROM host WHERE machine_id = ?1 AND hostname = ?2)
        AND member.family = ?3 AND member.pgid = ?4 AND member.comm = ?5";

fn family_row(family: &Family) -> Vec<&dyn ToSql> {
    let Family { host, family, pgid, comm } = family;
    vec![&host.machine_id, &host.hostname, family, pgid, comm]
}

/// The condition of being on the host whose machine-id and name are the parameters from `first` on.
fn on_host(first: usize) -> String {
    format!(
        "namespace_id IN (SELECT namespace_id FROM namespace JOIN host USING (host_id)
            WHERE machine_id = ?{first} AND hostname = ?{})",
        first + 1
    )
}

/// The rows of hosts, process names and families.
fn owned(connection: &Connection, table: &str, wanted: &Selection) -> Result<Ids, Fault> {
    let mut ids = Ids::new();
    let hosts: Vec<Vec<&dyn ToSql>> =
        wanted.hosts.iter().map(|id| vec![&id.machine_id as _, &id.hostname as _]).collect();
    find(connection, table, &on_host(1), &hosts, &mut ids)?;

    let names: Vec<Vec<&dyn ToSql>> = wanted.names.iter().map(|name| vec![name as _]).collect();
    let of_name = "process_id IN (SELECT process_id FROM process WHERE comm = ?1)";
    find(connection, table, of_name, &names, &mut ids)?;

    let families: Vec<_> = wanted.families.iter().map(family_row).collect();
    let of_family =
        format!("process_id IN (SELECT process_id FROM process member WHERE {OF_FAMILY})");
    find(connection, table, &of_family, &families, &mut ids)?;
    Ok(ids)
}

/// Adds the rows of `table` that fulfil the condition with any of these parameters.
fn find(
    connection: &Connection,
    table: &str,
    condition: &str,
    parameters: &[Vec<&dyn ToSql>],
    ids: &mut Ids,
) -> Result<(), Fault> {
    if parameters.is_empty() {
        return Ok(());
    }
    let mut statement =
        connection.prepare(&format!("SELECT {table}_id FROM {table} WHERE {condition}"))?;
    for row in parameters {
        let mut rows = statement.query(row.as_slice())?;
        while let Some(row) = rows.next()? {
            ids.insert(row.get(0)?);
        }
    }
    Ok(())
}

/// An endpoint as two columns.
struct End {
    address: AddressColumn,
    port: Option<u16>,
}

impl End {
    fn new(endpoint: Endpoint) -> Self {
        Self { address: AddressColumn::new(endpoint.address), port: endpoint.port.number() }
    }
}
