//! Which flows and listeners a selection is about.

use std::{mem, net::IpAddr};

use netglass_model::Protocol;
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    ask::{Parameter, any_of, ask},
    codec::{Moment, escaped},
    fault::Fault,
    history::Bounds,
    identity,
};
use crate::{Family, Selection, Server, Service};

/// By how much a dimension's `last_bucket` may lag behind what is observed, in microseconds: that it
/// is used is written every two hours, and how far what has just arrived reaches is not known yet.
const LAG: i64 = 26 * 60 * 60 * 1_000_000;

/// The flows that are wanted, with whatever anybody saw of their services, of those that may have been
/// observed within the bounds, with these columns; what services are known by must be among them.
pub(super) async fn flows(
    client: &Client,
    bounds: &Bounds,
    wanted: &Selection,
    columns: &[&str],
) -> Result<Vec<Row>, Fault> {
    let owners = Owners::new(wanted);
    let addresses: Vec<IpAddr> = wanted.addresses.iter().map(IpAddr::to_canonical).collect();
    let servers = Servers::new(&wanted.servers);
    let (numbered, many): (Vec<&Service>, Vec<&Service>) =
        wanted.services.iter().partition(|service| service.server.port.number().is_some());
    let (numbered, many) = (Services::new(&numbered), Services::new(&many));

    let mut question = Question::new("flow", columns, bounds);
    if !addresses.is_empty() {
        let any = any_of(question.parameter(&addresses, Type::INET_ARRAY), "inet");
        for Ends { server, .. } in ENDS {
            question.whole("", &format!("d.{server}_address {any}"));
        }
    }
    numbered.ask(&mut question, "= s.port");
    many.ask(&mut question, "IS NULL");
    // Before the others, which need not find what is found by its server.
    servers.ask(&mut question);
    owners.ask(&mut question);
    question.answer(client).await
}

/// The listeners that are wanted, of those that may have been observed within the bounds, with these
/// columns.
pub(super) async fn listeners(
    client: &Client,
    bounds: &Bounds,
    wanted: &Selection,
    columns: &[&str],
) -> Result<Vec<Row>, Fault> {
    let owners = Owners::new(wanted);
    let mut question = Question::new("listener", columns, bounds);
    owners.ask(&mut question);
    question.answer(client).await
}

/// A statement that finds the rows of a dimension table for which any of several things is true; some
/// of them more than once.
struct Question<'p> {
    table: &'static str,
    /// What is told of a row.
    columns: &'p [&'p str],
    since: Moment,
    /// What finds flows with whatever anybody else saw of their services.
    whole: Vec<String>,
    /// What finds others.
    parts: Vec<String>,
    /// What holds of the others, but for those that are found anyhow.
    unknown: String,
    parameters: Vec<Parameter<'p>>,
}

impl<'p> Question<'p> {
    fn new(table: &'static str, columns: &'p [&'p str], bounds: &Bounds) -> Self {
        let since = Moment(bounds.first().0.saturating_sub(LAG));
        let (whole, parts, parameters) = (Vec::new(), Vec::new(), Vec::new());
        Self { table, columns, since, whole, parts, unknown: "true".to_owned(), parameters }
    }

    /// The number of a parameter; the first one is the time.
    fn parameter(&mut self, value: &'p (dyn ToSql + Sync), of_type: Type) -> usize {
        self.parameters.push((value, of_type));
        self.parameters.len() + 1
    }

    /// Adds the rows of which this is true, with the tables that are joined. Where they are flows, all
    /// that was seen of their services must be among them.
    fn whole(&mut self, join: &str, condition: &str) {
        let rows = self.rows(join, condition);
        self.whole.push(rows);
    }

    /// The same of rows of which this need not hold.
    fn part(&mut self, join: &str, condition: &str) {
        let rows = self.rows(join, &format!("{condition} AND {}", self.unknown));
        self.parts.push(rows);
    }

    fn rows(&self, join: &str, condition: &str) -> String {
        // Joined tables have columns of the same names.
        let columns: Vec<_> = self.columns.iter().map(|column| format!("d.{column}")).collect();
        format!(
            "SELECT {} FROM {} d {join} WHERE d.last_bucket >= $1 AND {condition}",
            columns.join(", "),
            self.table
        )
    }

    /// Has, of flows, whatever anybody else saw of the services of the parts found, too: the tables
    /// that the statement begins with.
    fn of_whole_services(&mut self) -> String {
        let services = ENDS.map(|Ends { server, client, direction }| {
            // One at a loopback address is a service of its host alone.
            format!(
                "SELECT protocol, {server}_address AS server, {server}_port AS port,
                    {client}_address AS client, CASE
                        WHEN {server}_address <<= '127.0.0.0/8' OR {server}_address = '::1'
                        THEN (SELECT host_id FROM namespace n
                            WHERE n.namespace_id = part.namespace_id) END AS host
                 FROM part WHERE direction = {direction}"
            )
        });
        let parts = mem::replace(&mut self.parts, vec!["SELECT * FROM part".to_owned()]);
        self.of_services("services", "= s.port");
        self.of_services("services", "IS NULL AND s.port IS NULL");
        format!(
            "WITH part AS MATERIALIZED ({}), services AS MATERIALIZED ({}) ",
            parts.join(" UNION "),
            services.join(" UNION ")
        )
    }

    /// Adds the flows of the services in `table`; `port` is what holds of their port.
    fn of_services(&mut self, table: &str, port: &str) {
        for Ends { server, client, direction } in ENDS {
            let join = format!(
                "JOIN {table} s
                    ON d.protocol = s.protocol AND d.{server}_address = s.server
                        AND d.{server}_port {port} AND d.{client}_address = s.client"
            );
            self.whole(
                &join,
                &format!(
                    "d.direction = {direction} AND (s.host IS NULL OR d.namespace_id IN (
                        SELECT namespace_id FROM namespace WHERE host_id = s.host))"
                ),
            );
        }
    }

    async fn answer(mut self, client: &Client) -> Result<Vec<Row>, Fault> {
        let has_services = self.table == "flow" && !self.parts.is_empty();
        let with = if has_services { self.of_whole_services() } else { String::new() };
        let rows: Vec<_> = self.whole.into_iter().chain(self.parts).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut parameters: Vec<Parameter<'_>> = vec![(&self.since, Type::TIMESTAMPTZ)];
        parameters.extend(self.parameters);
        ask(client, &format!("{with}{}", rows.join(" UNION ALL ")), &parameters).await
    }
}

/// Which of a flow's ends is which, by its direction.
#[derive(Clone, Copy)]
struct Ends {
    server: &'static str,
    client: &'static str,
    direction: i16,
}

const ENDS: [Ends; 2] = [
    Ends { server: "peer", client: "local", direction: 0 },
    Ends { server: "local", client: "peer", direction: 1 },
];

/// Hosts, names and families.
struct Owners {
    hosts: Vec<Uuid>,
    names: Vec<String>,
    families: Families,
}

impl Owners {
    fn new(wanted: &Selection) -> Self {
        Self {
            hosts: wanted.hosts.iter().map(identity::host).collect(),
            names: wanted.names.iter().map(|name| escaped(name).into_owned()).collect(),
            families: Families::new(&wanted.families),
        }
    }

    fn ask<'p>(&'p self, question: &mut Question<'p>) {
        if !self.hosts.is_empty() {
            let any = any_of(question.parameter(&self.hosts, Type::UUID_ARRAY), "uuid");
            let condition = format!(
                "d.namespace_id IN (SELECT namespace_id FROM namespace WHERE host_id {any})"
            );
            question.part("", &condition);
        }
        if !self.names.is_empty() {
            let any = any_of(question.parameter(&self.names, Type::TEXT_ARRAY), "text");
            let condition =
                format!("d.process_id IN (SELECT process_id FROM process WHERE comm {any})");
            question.part("", &condition);
        }
        if !self.families.hosts.is_empty() {
            let first = question.parameters.len() + 2;
            question.parameters.extend(self.families.parameters());
            let (table, condition) = (Families::table(first), Families::condition("m"));
            let join = format!("JOIN process m USING (process_id) JOIN {table} ON {condition}");
            question.part(&join, "true");
        }
    }
}

/// Families as columns.
pub(super) struct Families {
    hosts: Vec<Uuid>,
    members: Vec<i64>,
    groups: Vec<i64>,
    names: Vec<String>,
}

impl Families {
    pub(super) fn new(families: &[Family]) -> Self {
        Self {
            hosts: families.iter().map(|family| identity::host(&family.host)).collect(),
            members: families.iter().map(|family| i64::from(family.family)).collect(),
            groups: families.iter().map(|family| i64::from(family.pgid)).collect(),
            names: families.iter().map(|family| escaped(&family.comm).into_owned()).collect(),
        }
    }

    pub(super) fn parameters(&self) -> [Parameter<'_>; 4] {
        [
            (&self.hosts, Type::UUID_ARRAY),
            (&self.members, Type::INT8_ARRAY),
            (&self.groups, Type::INT8_ARRAY),
            (&self.names, Type::TEXT_ARRAY),
        ]
    }

    /// The table of these, whose parameters are numbered from `first` on.
    pub(super) fn table(first: usize) -> String {
        format!(
            "unnest(${first}::uuid[], ${}::bigint[], ${}::bigint[], ${}::text[])
                AS of_family (host, family, pgid, comm)",
            first + 1,
            first + 2,
            first + 3
        )
    }

    /// That the process `of` belongs to one of them.
    pub(super) fn condition(of: &str) -> String {
        format!(
            "{of}.host_id = of_family.host AND {of}.family = of_family.family
                AND {of}.pgid = of_family.pgid AND {of}.comm = of_family.comm"
        )
    }
}

/// Servers as columns.
struct Servers {
    protocols: Vec<i16>,
    ports: Vec<i32>,
    addresses: Vec<Option<IpAddr>>,
    hosts: Vec<Option<Uuid>>,
}

impl Servers {
    fn new(servers: &[Server]) -> Self {
        Self {
            protocols: servers.iter().map(|server| number(server.protocol)).collect(),
            ports: servers.iter().map(|server| i32::from(server.port)).collect(),
            addresses: servers
                .iter()
                .map(|server| server.place.address().map(|address| address.to_canonical()))
                .collect(),
            hosts: servers.iter().map(|server| server.place.host().map(identity::host)).collect(),
        }
    }

    fn ask<'p>(&'p self, question: &mut Question<'p>) {
        if self.ports.is_empty() {
            return;
        }
        let protocols = question.parameter(&self.protocols, Type::INT2_ARRAY);
        let ports = question.parameter(&self.ports, Type::INT4_ARRAY);
        let addresses = question.parameter(&self.addresses, Type::INET_ARRAY);
        let hosts = question.parameter(&self.hosts, Type::UUID_ARRAY);
        let table = format!(
            "unnest(${protocols}::smallint[], ${ports}::integer[], ${addresses}::inet[],
                ${hosts}::uuid[]) AS s (protocol, port, address, host)"
        );
        for Ends { server, direction, .. } in ENDS {
            let join = format!(
                "JOIN {table} ON d.protocol = s.protocol AND d.{server}_address = s.address
                    AND d.{server}_port = s.port"
            );
            question.whole(&join, &format!("d.direction = {direction} AND s.host IS NULL"));
        }
        // What follows is compared with all servers at once, in a hash table.
        let [address, port] = ["address", "port"].map(|column| {
            let of_end = |Ends { server, direction, .. }| {
                format!("WHEN {direction} THEN d.{server}_{column}")
            };
            format!("CASE d.direction {} END", ENDS.map(of_end).join(" "))
        });
        question.unknown = format!(
            "((d.protocol, {port}, {address}) IN (
                SELECT s.protocol, s.port, s.address FROM {table} WHERE s.host IS NULL)) IS NOT TRUE"
        );
        // Of a host, each flow is looked at once, however many servers there are.
        question.part(
            "JOIN namespace n USING (namespace_id)",
            &format!(
                "n.host_id {} AND ((n.host_id, d.protocol, {port}) IN (
                    SELECT s.host, s.protocol, s.port FROM {table} WHERE s.address IS NULL)
                OR (n.host_id, d.protocol, {port}, {address}) IN (
                    SELECT s.host, s.protocol, s.port, s.address FROM {table}
                    WHERE s.address IS NOT NULL))",
                any_of(hosts, "uuid")
            ),
        );
    }
}

/// Services as columns.
struct Services {
    protocols: Vec<i16>,
    servers: Vec<IpAddr>,
    ports: Vec<Option<i32>>,
    clients: Vec<IpAddr>,
    hosts: Vec<Option<Uuid>>,
}

impl Services {
    fn new(services: &[&Service]) -> Self {
        let all = || services.iter();
        Self {
            protocols: all().map(|service| number(service.protocol)).collect(),
            servers: all().map(|service| service.server.address.to_canonical()).collect(),
            ports: all().map(|service| service.server.port.number().map(i32::from)).collect(),
            clients: all().map(|service| service.client.to_canonical()).collect(),
            hosts: all().map(|service| service.host.as_ref().map(identity::host)).collect(),
        }
    }

    /// `port` is what holds of the service's port.
    fn ask<'p>(&'p self, question: &mut Question<'p>, port: &str) {
        if self.servers.is_empty() {
            return;
        }
        let protocols = question.parameter(&self.protocols, Type::INT2_ARRAY);
        let servers = question.parameter(&self.servers, Type::INET_ARRAY);
        let ports = question.parameter(&self.ports, Type::INT4_ARRAY);
        let clients = question.parameter(&self.clients, Type::INET_ARRAY);
        let hosts = question.parameter(&self.hosts, Type::UUID_ARRAY);
        let table = format!(
            "unnest(${protocols}::smallint[], ${servers}::inet[], ${ports}::integer[],
                ${clients}::inet[], ${hosts}::uuid[]) AS"
        );
        question.of_services(
            &format!("(SELECT * FROM {table} s (protocol, server, port, client, host))"),
            port,
        );
    }
}

fn number(protocol: Protocol) -> i16 {
    i16::from(protocol.number())
}
