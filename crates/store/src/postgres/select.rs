//! Which flows and listeners a selection is about.

use std::net::IpAddr;

use tokio_postgres::{Transaction, types::ToSql};
use uuid::Uuid;

use super::{
    codec::{escaped, port},
    fault::Fault,
    identity,
    read::ask,
};
use crate::{Family, Selection, Server, Service};

/// Families as the columns of a table.
pub(super) struct FamilyColumns {
    hosts: Vec<Uuid>,
    families: Vec<i64>,
    groups: Vec<i64>,
    names: Vec<String>,
}

impl FamilyColumns {
    pub(super) fn new(families: &[Family]) -> Self {
        Self {
            hosts: families.iter().map(|one| identity::host(&one.host)).collect(),
            families: families.iter().map(|one| one.family.into()).collect(),
            groups: families.iter().map(|one| one.pgid.into()).collect(),
            names: families.iter().map(|one| escaped(&one.comm).into_owned()).collect(),
        }
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.hosts, &self.families, &self.groups, &self.names]
    }
}

/// The rows of a dimension table that belong to hosts, process names and families.
pub(super) async fn owned(
    transaction: &Transaction<'_>,
    table: &str,
    wanted: &Selection,
) -> Result<Vec<Uuid>, Fault> {
    let hosts: Vec<_> = wanted.hosts.iter().map(identity::host).collect();
    let names: Vec<_> = wanted.names.iter().map(|name| escaped(name).into_owned()).collect();
    let families = FamilyColumns::new(&wanted.families);
    let mut ids = Ids { transaction, table, found: Vec::new() };
    if !hosts.is_empty() {
        ids.add("JOIN namespace USING (namespace_id) WHERE host_id = ANY ($1)", &[&hosts]).await?;
    }
    if !names.is_empty() {
        ids.add("JOIN process USING (process_id) WHERE comm = ANY ($1)", &[&names]).await?;
    }
    if !wanted.families.is_empty() {
        let condition = "JOIN process p USING (process_id)
            JOIN unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[])
                w (host, family, pgid, comm)
            ON p.host_id = w.host AND p.family = w.family AND p.pgid = w.pgid AND p.comm = w.comm";
        ids.add(condition, &families.parameters()).await?;
    }
    Ok(ids.finish())
}

/// The flows that are wanted.
pub(super) async fn flows(
    transaction: &Transaction<'_>,
    wanted: &Selection,
) -> Result<Vec<Uuid>, Fault> {
    let found = owned(transaction, "flow", wanted).await?;
    let mut ids = Ids { transaction, table: "flow", found };
    let addresses: Vec<_> = wanted.addresses.iter().map(IpAddr::to_canonical).collect();
    if !addresses.is_empty() {
        for end in ["local", "peer"] {
            ids.add(&format!("WHERE {end}_address = ANY ($1)"), &[&addresses]).await?;
        }
    }
    let (anywhere, somewhere): (Vec<_>, Vec<_>) =
        wanted.servers.iter().partition(|server| server.address.is_none());
    for (servers, has_address) in [(anywhere, false), (somewhere, true)] {
        ids.add_servers(&servers, has_address).await?;
    }
    let (numbered, many): (Vec<_>, Vec<_>) =
        wanted.services.iter().partition(|service| port(service.server).is_some());
    for (services, has_port) in [(numbered, true), (many, false)] {
        ids.add_services(&services, has_port).await?;
    }
    Ok(ids.finish())
}

/// Where the service is, by direction.
const ENDS: [(&str, &str, i16); 2] = [("peer", "local", 0), ("local", "peer", 1)];

/// Ids that were found so far.
struct Ids<'t, 'c> {
    transaction: &'t Transaction<'c>,
    table: &'t str,
    found: Vec<Uuid>,
}

impl Ids<'_, '_> {
    async fn add(
        &mut self,
        condition: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Fault> {
        let table = self.table;
        let text = format!("SELECT {table}_id FROM {table} {condition}");
        for row in &ask(self.transaction, &text, parameters).await? {
            self.found.push(row.try_get(0)?);
        }
        Ok(())
    }

    async fn add_servers(&mut self, servers: &[&Server], has_address: bool) -> Result<(), Fault> {
        if servers.is_empty() {
            return Ok(());
        }
        let protocols: Vec<_> =
            servers.iter().map(|one| i16::from(one.protocol.number())).collect();
        let ports: Vec<_> = servers.iter().map(|one| i32::from(one.port)).collect();
        let addresses: Vec<_> =
            servers.iter().map(|one| one.address.map(|address| address.to_canonical())).collect();
        let hosts: Vec<_> =
            servers.iter().map(|one| one.host.as_ref().map(identity::host)).collect();
        for (end, _, direction) in ENDS {
            let place =
                if has_address { format!("AND {end}_address = w.address") } else { String::new() };
            let condition = format!(
                "f JOIN namespace n USING (namespace_id)
                 JOIN unnest($1::smallint[], $2::integer[], $3::inet[], $4::uuid[])
                    w (protocol, port, address, host)
                 ON f.protocol = w.protocol AND {end}_port = w.port {place}
                    AND direction = {direction} AND (w.host IS NULL OR w.host = n.host_id)"
            );
            self.add(&condition, &[&protocols, &ports, &addresses, &hosts]).await?;
        }
        Ok(())
    }

    async fn add_services(&mut self, services: &[&Service], has_port: bool) -> Result<(), Fault> {
        if services.is_empty() {
            return Ok(());
        }
        let protocols: Vec<_> =
            services.iter().map(|one| i16::from(one.protocol.number())).collect();
        let servers: Vec<_> =
            services.iter().map(|one| one.server.address.to_canonical()).collect();
        let ports: Vec<_> = services.iter().map(|one| port(one.server)).collect();
        let clients: Vec<_> = services.iter().map(|one| one.client.to_canonical()).collect();
        let hosts: Vec<_> =
            services.iter().map(|one| one.host.as_ref().map(identity::host)).collect();
        for (end, other, direction) in ENDS {
            let at = if has_port { "= w.port" } else { "IS NULL" };
            let condition = format!(
                "f JOIN namespace n USING (namespace_id)
                 JOIN unnest($1::smallint[], $2::inet[], $3::integer[], $4::inet[], $5::uuid[])
                    w (protocol, server, port, client, host)
                 ON f.protocol = w.protocol AND {end}_address = w.server AND {end}_port {at}
                    AND {other}_address = w.client AND direction = {direction}
                    AND (w.host IS NULL OR w.host = n.host_id)"
            );
            self.add(&condition, &[&protocols, &servers, &ports, &clients, &hosts]).await?;
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Uuid> {
        self.found.sort_unstable();
        self.found.dedup();
        self.found
    }
}
