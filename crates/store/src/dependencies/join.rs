//! Setting what the client's end saw against what the server's end saw.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use netglass_model::{Attribution, Edge, Endpoint, Failures, Node, Port, Protocol};

use super::{
    directory::{Directory, Whereabouts},
    fold::{Place, Seen},
    pair::{Pair, pair_places, pair_processes},
    processes::GroupId,
    service::{Crossing, Ends, Row, Rows, Service, services},
    tally::{Tally, unite_whole},
};

/// The edges of all that was seen, in no particular order.
pub(super) fn edges(seen: &Seen) -> Vec<Edge> {
    let directory = Directory::new(seen);
    let (services, crossings) = services(seen, &directory);
    // The same two processes may have connections whose addresses are translated, and others.
    let mut edges: BTreeMap<(Protocol, Endpoint, IpAddr, EdgeKey), Joined> = BTreeMap::new();
    for (service, ends) in services {
        let mut joining = Joining {
            directory: &directory,
            service,
            crossing: service.way.and_then(|way| crossings.get(way)),
            joined: BTreeMap::new(),
            total: Total::default(),
        };
        joining.join(&ends);
        for (key, joined) in joining.joined {
            edges
                .entry((service.protocol, service.server, service.client, key))
                .and_modify(|known| known.merge(&joined))
                .or_insert(joined);
        }
    }
    edges
        .into_iter()
        .map(|((protocol, server, client, _), joined)| {
            edge(seen, protocol, Endpoint::new(client, Port::Many), server, &joined)
        })
        .collect()
}

/// The listeners of all that was seen, in no particular order.
pub(super) fn listeners(seen: &Seen) -> Vec<(Protocol, Node)> {
    seen.listeners
        .iter()
        .map(|one| {
            let exact = Attribution::Socket;
            (one.protocol, node(seen, one.place.into(), one.local, one.process, exact))
        })
        .collect()
}

/// What is left to count of sockets that nobody holds. The other end of such a socket may be one
/// that somebody does hold, and is counted there: only what is more than those `known` ones is left.
fn ownerless(clients: &Rows, servers: &Rows, known: Total) -> Option<Row> {
    let row = match (clients.get(&None), servers.get(&None)) {
        (Some(client), Some(server)) => {
            Row { tally: unite_whole(&client.tally, &server.tally), ..*server }
        }
        (Some(one), None) | (None, Some(one)) => *one,
        (None, None) => return None,
    };
    let connections = more_than(clients, servers, known.connections, &row, |it| it.connections);
    let failed = std::array::from_fn(|kind| {
        let known = known.failed.counts()[kind];
        more_than(clients, servers, known, &row, |it| it.failed.counts()[kind])
    });
    let failed = Failures::from_counts(failed);
    let mut tally = Tally { connections, failed, ..row.tally };
    if connections < row.tally.connections {
        // Nobody can tell which of the bytes were those of the connections counted elsewhere.
        tally.bytes_sent = 0;
        tally.bytes_received = 0;
        tally.segments_sent = 0;
        tally.segments_received = 0;
        tally.retransmits = 0;
    }
    (tally.connections > 0 || tally.failed.total() > 0).then_some(Row { tally, ..row })
}

/// By how many the end that saw more saw more than the `known` ones: of what is in `row` at most.
fn more_than(
    clients: &Rows,
    servers: &Rows,
    known: u64,
    row: &Row,
    count: impl Fn(&Tally) -> u64,
) -> u64 {
    let sum = |rows: &Rows| rows.values().map(|row| count(&row.tally)).fold(0, u64::saturating_add);
    sum(clients).max(sum(servers)).saturating_sub(known).min(count(&row.tally))
}

fn node(
    seen: &Seen,
    whereabouts: Whereabouts,
    endpoint: Endpoint,
    process: Option<GroupId>,
    attribution: Attribution,
) -> Node {
    Node {
        host: whereabouts.host.map(|host| seen.ids[host].clone()),
        namespace: whereabouts.place.map(|place| seen.namespace(place)),
        address: endpoint.address,
        port: endpoint.port,
        process: process.map(|group| Arc::clone(seen.groups.oldest(group))),
        attribution: if process.is_some() { attribution } else { Attribution::Namespace },
    }
}

/// An end of an edge: where it is, whose it is, and how well that is known.
#[derive(Debug, Clone, Copy)]
struct End {
    whereabouts: Whereabouts,
    process: Option<GroupId>,
    attribution: Attribution,
}

impl End {
    fn seen(place: Place, process: Option<GroupId>, row: &Row) -> Self {
        Self { whereabouts: place.into(), process, attribution: row.attribution }
    }

    fn unseen(whereabouts: Whereabouts) -> Self {
        Self { whereabouts, process: None, attribution: Attribution::Namespace }
    }

    fn at_best(self, attribution: Attribution) -> Self {
        Self { attribution: self.attribution.max(attribution), ..self }
    }
}

/// What makes an edge of a service itself: where its ends are, and whose they are.
type EdgeKey = [(Whereabouts, Option<GroupId>); 2];

/// An edge, but for its addresses.
#[derive(Debug, Clone, Copy)]
struct Joined {
    client: End,
    server: End,
    tally: Tally,
}

impl Joined {
    /// Adds what is between the same ends besides.
    fn merge(&mut self, other: &Self) {
        self.client = self.client.at_best(other.client.attribution);
        self.server = self.server.at_best(other.server.attribution);
        self.tally.add(&other.tally);
    }
}

/// Joins what both ends saw of the connections of one service.
struct Joining<'a> {
    directory: &'a Directory<'a>,
    service: Service,
    /// The way on which their addresses are translated.
    crossing: Option<&'a Crossing>,
    joined: BTreeMap<EdgeKey, Joined>,
    total: Total,
}

/// How much all edges of a service have been given.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    connections: u64,
    failed: Failures,
}

impl Joining<'_> {
    fn join(&mut self, ends: &Ends) {
        let pairs = pair_places(
            ends.clients.keys().copied().collect(),
            ends.servers.keys().copied().collect(),
        );
        for (client, server) in pairs {
            match (
                client.and_then(|place| Some((place, ends.clients.get(&place)?))),
                server.and_then(|place| Some((place, ends.servers.get(&place)?))),
            ) {
                (Some(client), Some(server)) => self.join_places(client, server),
                (Some((place, rows)), None) => {
                    for (&process, row) in rows {
                        let end = End::seen(place, process, row);
                        let server = self.unseen_server(place, row, ends.servers.is_empty());
                        self.push(end, server, row.tally);
                    }
                }
                (None, Some((place, rows))) => {
                    for (&process, row) in rows {
                        let end = self.seen_server(place, process, row);
                        let client = self.unseen_client(place, ends.clients.is_empty());
                        self.push(client, end, row.tally);
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// The server of what only the client's end saw. Nothing is concluded where somebody did see
    /// the server's end of such connections, but it is open whose they were.
    fn unseen_server(&self, near: Place, row: &Row, unclaimed: bool) -> End {
        if !unclaimed || self.crossing.is_some_and(|crossing| crossing.servers_open) {
            return End::unseen(Whereabouts::default());
        }
        // The server's address means what it says behind the last translation.
        let near = self.crossing.map_or(near, |crossing| crossing.way.last);
        let whereabouts = self.directory.locate(self.service.server.address, near);
        match whereabouts.place {
            Some(place) => self.listening_server(place, row),
            None => End::unseen(whereabouts),
        }
    }

    /// The server of what its own end saw. A socket that nobody holds any more was accepted, or
    /// would be, by whoever listens there.
    fn seen_server(&self, place: Place, process: Option<GroupId>, row: &Row) -> End {
        match process {
            Some(_) => End::seen(place, process, row),
            None => self.listening_server(place, row),
        }
    }

    fn listening_server(&self, place: Place, row: &Row) -> End {
        let Service { protocol, server, .. } = self.service;
        let when = (row.tally.first_seen, row.tally.last_seen);
        let process = self.directory.listener(place, protocol, server, when);
        End { whereabouts: place.into(), process, attribution: Attribution::Listener }
    }

    fn unseen_client(&self, near: Place, unclaimed: bool) -> End {
        if !unclaimed || self.crossing.is_some_and(|crossing| crossing.clients_open) {
            return End::unseen(Whereabouts::default());
        }
        let near = self.crossing.map_or(near, |crossing| crossing.way.first);
        End::unseen(self.directory.locate(self.service.client, near))
    }

    /// Joins what the two places at either end of the same connections saw.
    fn join_places(
        &mut self,
        (client_place, clients): (Place, &Rows),
        (server_place, servers): (Place, &Rows),
    ) {
        let known = |rows: &Rows| -> Vec<(GroupId, Row)> {
            rows.iter().filter_map(|(&group, &row)| Some((group?, row))).collect()
        };
        let (known_clients, known_servers) = (known(clients), known(servers));
        let before = self.total;
        if known_servers.is_empty() {
            for (group, row) in &known_clients {
                let client = End::seen(client_place, Some(*group), row);
                let server = self.listening_server(server_place, row);
                self.push(client, server, row.tally);
            }
        } else if known_clients.is_empty() {
            for (group, row) in &known_servers {
                let client = End::unseen(client_place.into());
                let server = End::seen(server_place, Some(*group), row);
                self.push(client, server, row.tally);
            }
        } else {
            self.join_processes((client_place, &known_clients), (server_place, &known_servers));
        }

        let known = Total {
            connections: self.total.connections.saturating_sub(before.connections),
            failed: self.total.failed.zip_with(&before.failed, u64::saturating_sub),
        };
        let Some(row) = ownerless(clients, servers, known) else { return };
        let server = self.seen_server(server_place, None, &row);
        self.push(End::unseen(client_place.into()), server, row.tally);
    }

    /// Joins known clients with known servers.
    fn join_processes(
        &mut self,
        (client_place, clients): (Place, &[(GroupId, Row)]),
        (server_place, servers): (Place, &[(GroupId, Row)]),
    ) {
        if let ([(client, client_row)], [(server, server_row)]) = (clients, servers) {
            let tally = unite_whole(&client_row.tally, &server_row.tally);
            let client = End::seen(client_place, Some(*client), client_row);
            let server = End::seen(server_place, Some(*server), server_row);
            self.push(client, server, tally);
            return;
        }
        let tallies = |rows: &[(GroupId, Row)]| -> Vec<Tally> {
            rows.iter().map(|(_, row)| row.tally).collect()
        };
        let exact = clients.len() == 1 || servers.len() == 1;
        let best = if exact { Attribution::Socket } else { Attribution::Listener };
        for Pair { client, server, tally } in pair_processes(&tallies(clients), &tallies(servers)) {
            let ((client, client_row), (server, server_row)) = (&clients[client], &servers[server]);
            self.push(
                End::seen(client_place, Some(*client), client_row).at_best(best),
                End::seen(server_place, Some(*server), server_row).at_best(best),
                tally,
            );
        }
    }

    /// Adds an edge, or adds to it where a part of it is known already.
    fn push(&mut self, client: End, server: End, tally: Tally) {
        self.total.connections = self.total.connections.saturating_add(tally.connections);
        self.total.failed.merge(&tally.failed);
        let key = [client, server].map(|end| (end.whereabouts, end.process));
        let joined = Joined { client, server, tally };
        self.joined.entry(key).and_modify(|known| known.merge(&joined)).or_insert(joined);
    }
}

fn edge(
    seen: &Seen,
    protocol: Protocol,
    client: Endpoint,
    server: Endpoint,
    Joined { client: client_end, server: server_end, tally }: &Joined,
) -> Edge {
    let node =
        |end: &End, endpoint| node(seen, end.whereabouts, endpoint, end.process, end.attribution);
    Edge {
        client: node(client_end, client),
        server: node(server_end, server),
        protocol,
        connections: tally.connections,
        failed: tally.failed,
        bytes_sent: tally.bytes_sent,
        bytes_received: tally.bytes_received,
        segments_sent: tally.segments_sent,
        segments_received: tally.segments_received,
        retransmits: tally.retransmits,
        rtt: tally.rtt,
        first_seen: tally.first_seen,
        last_seen: tally.last_seen,
    }
}
