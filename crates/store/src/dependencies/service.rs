//! Connections that may be the same, seen from either end, with the addresses that both ends go by.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netglass_model::{Attribution, Direction, Endpoint, Protocol, Route};

use super::{
    directory::Directory,
    fold::{Counted, Place, Seen},
    pair::distribute,
    processes::GroupId,
    share::shares,
    tally::Tally,
    translation::{Name, Sights, Way, clients_of, servers_of, ways},
};

/// Connections that may be the same, seen from either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) protocol: Protocol,
    pub(super) server: Endpoint,
    pub(super) client: IpAddr,
    /// Where they are, if they cannot leave it.
    confined: Option<Place>,
    /// The way on which their addresses are translated, by its place in the list of crossings: then
    /// the server is that of the server's side, the client that of the client's side.
    pub(super) way: Option<usize>,
}

/// What one place saw from one end, by process.
pub(super) type Rows = BTreeMap<Option<GroupId>, Row>;

/// What one end saw of the connections of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) attribution: Attribution,
    pub(super) tally: Tally,
}

/// Both ends of a service.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) clients: BTreeMap<Place, Rows>,
    pub(super) servers: BTreeMap<Place, Rows>,
}

/// A way, and what else is known of its ends.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) way: Way,
    /// Whether somebody saw such clients' ends, but it is open whether they are those of this way.
    pub(super) clients_open: bool,
    /// The same of servers' ends.
    pub(super) servers_open: bool,
}

impl Row {
    /// Adds what the same place saw of other connections: those whose ephemeral ports were not
    /// collapsed, or which came by another way.
    pub(super) fn merge(&mut self, other: &Self) {
        self.attribution = self.attribution.max(other.attribution);
        self.tally.add(&other.tally);
    }
}

impl Ends {
    fn side(&mut self, direction: Direction) -> &mut BTreeMap<Place, Rows> {
        match direction {
            Direction::Active => &mut self.clients,
            Direction::Passive => &mut self.servers,
        }
    }

    fn add(&mut self, direction: Direction, place: Place, process: Option<GroupId>, row: Row) {
        self.side(direction)
            .entry(place)
            .or_default()
            .entry(process)
            .and_modify(|known| known.merge(&row))
            .or_insert(row);
    }
}

/// All that was seen, by service; and the ways that services name.
pub(super) fn services(
    seen: &Seen,
    directory: &Directory<'_>,
) -> (BTreeMap<Service, Ends>, Vec<Crossing>) {
    let mut services: BTreeMap<Service, Ends> = BTreeMap::new();
    for flow in &seen.flows {
        let (key, Counted { attribution, counters, first_seen, last_seen }) =
            (&flow.key, flow.counted);
        let (client, server) = match key.direction {
            Direction::Active => (key.local, key.peer),
            Direction::Passive => (key.peer, key.local),
        };
        let route = Route { client: client.address, server };
        let row =
            Row { attribution, tally: Tally::new(key.direction, &counters, first_seen, last_seen) };
        let service = service((key.protocol, route), key.place);
        services.entry(service).or_default().add(key.direction, key.place, key.process, row);
    }
    let crossings = if seen.translations.is_empty() {
        Vec::new()
    } else {
        translate(&mut services, seen, directory)
    };
    (services, crossings)
}

/// Those of this name whose addresses are what they are from end to end, as seen at `place`.
fn service((protocol, route): Name, place: Place) -> Service {
    let Route { client, server } = route;
    let confined = client.is_loopback() || server.address.is_loopback();
    let confined = confined.then_some(place);
    Service { protocol, server, client, confined, way: None }
}

/// Moves what either end saw of translated connections to services of their own.
fn translate(
    services: &mut BTreeMap<Service, Ends>,
    seen: &Seen,
    directory: &Directory<'_>,
) -> Vec<Crossing> {
    let (mut clients, mut servers) = (Sights::new(), Sights::new());
    for (service, ends) in &*services {
        let name = (service.protocol, Route { client: service.client, server: service.server });
        clients.entry(name).or_default().extend(ends.clients.keys());
        servers.entry(name).or_default().extend(ends.servers.keys());
    }
    let ways = ways(&seen.translations, &clients, &servers);
    let (mut by_original, mut by_translated) = (Groups::new(), Groups::new());
    for (index, way) in ways.iter().enumerate() {
        by_original.entry((way.protocol, way.original)).or_default().push(index);
        by_translated.entry((way.protocol, way.translated)).or_default().push(index);
    }
    let none = vec![None; ways.len()];
    let of = |members: &[usize]| members.iter().map(|&index| &ways[index]).collect::<Vec<_>>();
    let at_clients = link(&by_original, &clients, none.clone(), |members, places| {
        clients_of(&of(members), places, directory)
    });
    let at_servers = link(&by_translated, &servers, none, |members, places| {
        let known: Vec<_> = members.iter().map(|&index| at_clients[index]).collect();
        servers_of(&of(members), &known, places, directory)
    });
    split(services, &ways, &by_original, Direction::Active, &at_clients);
    split(services, &ways, &by_translated, Direction::Passive, &at_servers);

    let was_seen = |sights: &Sights, name: Name, place: Place| {
        sights.get(&name).is_some_and(|places| match service(name, place).confined {
            Some(place) => places.contains(&place),
            None => !places.is_empty(),
        })
    };
    ways.into_iter()
        .enumerate()
        .map(|(index, way)| Crossing {
            clients_open: at_clients[index].is_none()
                && was_seen(&clients, (way.protocol, way.original), way.first),
            servers_open: at_servers[index].is_none()
                && was_seen(&servers, (way.protocol, way.translated), way.last),
            way,
        })
        .collect()
}

/// Ways by the name of one of their ends.
type Groups = BTreeMap<Name, Vec<usize>>;

/// Where the flows of each way are.
fn link(
    groups: &Groups,
    sights: &Sights,
    mut links: Vec<Option<Place>>,
    find: impl Fn(&[usize], &BTreeSet<Place>) -> Vec<Option<Place>>,
) -> Vec<Option<Place>> {
    for (name, members) in groups {
        let Some(places) = sights.get(name).filter(|places| !places.is_empty()) else { continue };
        for (&index, place) in members.iter().zip(find(members, places)) {
            links[index] = place;
        }
    }
    links
}

/// Shares out what one end saw of each name over the ways that lead there.
fn split(
    services: &mut BTreeMap<Service, Ends>,
    ways: &[Way],
    groups: &Groups,
    direction: Direction,
    links: &[Option<Place>],
) {
    for (&name, members) in groups {
        let mut by_place: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for &index in members {
            if let Some(place) = links[index] {
                by_place.entry(place).or_default().push(index);
            }
        }
        for (place, members) in by_place {
            let whole = service(name, place);
            let Some(ends) = services.get_mut(&whole) else { continue };
            let Some(rows) = ends.side(direction).remove(&place) else { continue };
            let is_met = match direction {
                Direction::Active => !ends.servers.is_empty(),
                Direction::Passive => !ends.clients.is_empty(),
            };
            if ends.clients.is_empty() && ends.servers.is_empty() {
                services.remove(&whole);
            }
            let mut weights: Vec<u64> =
                members.iter().map(|&index| ways[index].connections).collect();
            // Conversations of one port after the other are tracked as one.
            if name.0 == Protocol::Udp && !is_met {
                let attempts =
                    |row: &Row| row.tally.connections.saturating_add(row.tally.failed.total());
                let seen = rows.values().map(attempts).fold(0, u64::saturating_add);
                if seen > weights.iter().copied().fold(0, u64::saturating_add) {
                    weights = shares(seen, &weights);
                }
            }
            for (process, way, row) in share(rows, &weights) {
                let target = way.map_or(whole, |way| crossing(ways, members[way]));
                services.entry(target).or_default().add(direction, place, process, row);
            }
        }
    }
}

fn crossing(ways: &[Way], index: usize) -> Service {
    let Way { protocol, original, translated, .. } = ways[index];
    let (client, server) = (original.client, translated.server);
    Service { protocol, server, client, confined: None, way: Some(index) }
}

/// The parts of rows for each of several ways, and what is left of them.
fn share(rows: Rows, weights: &[u64]) -> Vec<(Option<GroupId>, Option<usize>, Row)> {
    let rows: Vec<(Option<GroupId>, Row)> = rows.into_iter().collect();
    let tallies: Vec<Tally> = rows.iter().map(|(_, row)| row.tally).collect();
    let parts = distribute(&tallies, weights);
    let several = parts.iter().any(|part| part.column != parts[0].column);
    parts
        .into_iter()
        .map(|part| {
            let (process, row) = rows[part.row];
            // Nobody knows which process had which way.
            let attribution = if several && rows.len() > 1 {
                row.attribution.max(Attribution::Listener)
            } else {
                row.attribution
            };
            (process, part.column, Row { attribution, tally: part.tally })
        })
        .collect()
}
