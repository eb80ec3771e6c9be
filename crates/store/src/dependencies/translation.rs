//! Which connections of a client's side are which ones of a server's side, where their addresses
//! are translated on the way.
//!
//! An address means what it says only where it is used: the same private ones are in many networks.
//! So a translation made at a place is set against flows as the two ends of a connection are
//! ([`pair_places`]): those of the very place, then the only ones of its host, then the only ones
//! anywhere. What that does not settle stays as it was seen.

use std::collections::{BTreeMap, BTreeSet};

use netglass_model::{Protocol, Route};

use super::{
    directory::Directory,
    fold::{Place, Translating},
    pair::pair_places,
    share::{matrix, shares},
};

/// The way of connections through one translation or several, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    /// As the client's end knows them.
    pub(super) original: Route,
    /// As the server's end knows them.
    pub(super) translated: Route,
    /// Where they are translated first, and last.
    pub(super) first: Place,
    pub(super) last: Place,
    pub(super) connections: u64,
}

/// Connections as they are called between two translations, or at an end.
pub(super) type Name = (Protocol, Route);

/// The places that saw connections of a name.
pub(super) type Sights = BTreeMap<Name, BTreeSet<Place>>;

/// All ways, in an order of their own. `clients` and `servers` say which flows were seen at either
/// end.
pub(super) fn ways(translations: &[Translating], clients: &Sights, servers: &Sights) -> Vec<Way> {
    let mut ways: Vec<Way> = once_each(translations, clients, servers)
        .into_iter()
        .filter(|it| it.connections > 0)
        .map(|it| Way {
            protocol: it.protocol,
            original: it.original,
            translated: it.translated,
            first: it.place,
            last: it.place,
            connections: it.connections,
        })
        .collect();
    let originals: BTreeSet<Name> = ways.iter().map(|way| (way.protocol, way.original)).collect();
    let between: BTreeSet<Name> = ways
        .iter()
        .map(|way| (way.protocol, way.translated))
        .filter(|name| originals.contains(name) && !is_confined(name.1))
        .collect();
    for name in between {
        ways = compose(ways, name);
    }
    ways.sort_unstable();
    ways
}

/// The translations without those that several routers tell alike, such as two of which one stands
/// in for the other. Where an end of the connections is on the host that translates, it is another
/// translation that has the same name.
fn once_each(translations: &[Translating], clients: &Sights, servers: &Sights) -> Vec<Translating> {
    let has_end = |sights: &Sights, name: Name, host: usize| {
        sights.get(&name).is_some_and(|places| places.iter().any(|place| place.host == host))
    };
    let mut kept = Vec::new();
    let mut by_routers: BTreeMap<(Protocol, Route, Route), Translating> = BTreeMap::new();
    for it in translations {
        let host = it.place.host;
        if is_confined(it.original)
            || is_confined(it.translated)
            || has_end(clients, (it.protocol, it.original), host)
            || has_end(servers, (it.protocol, it.translated), host)
        {
            kept.push(*it);
            continue;
        }
        by_routers
            .entry((it.protocol, it.original, it.translated))
            .and_modify(|known| {
                known.connections = known.connections.max(it.connections);
                known.place = known.place.min(it.place);
            })
            .or_insert(*it);
    }
    kept.extend(by_routers.into_values());
    kept
}

/// Puts ways that lead to `name` before those that begin with it. What one of them has more than the
/// other is left as it is.
fn compose(ways: Vec<Way>, name: Name) -> Vec<Way> {
    let (mut leading, rest): (Vec<_>, Vec<_>) =
        ways.into_iter().partition(|way| (way.protocol, way.translated) == name);
    let (mut following, mut result): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|way| (way.protocol, way.original) == name);
    leading.sort_unstable();
    following.sort_unstable();
    // What a place both makes and translates comes from itself, and not by way of it.
    let ends: BTreeSet<Place> = leading.iter().map(|way| way.last).collect();
    let starts = following.iter().map(|way| way.first).filter(|place| !ends.contains(place));
    for (end, start) in pair_places(ends.clone(), starts.collect()) {
        let (Some(end), Some(start)) = (end, start) else { continue };
        let before: Vec<usize> = positions(&leading, |way| way.last == end);
        let after: Vec<usize> = positions(&following, |way| way.first == start);
        let mut counts = [
            before.iter().map(|&it| leading[it].connections).collect::<Vec<_>>(),
            after.iter().map(|&it| following[it].connections).collect(),
        ];
        let sums = counts.each_ref().map(|side| side.iter().copied().fold(0, u64::saturating_add));
        let common = sums[0].min(sums[1]);
        for (side, sum) in counts.iter_mut().zip(sums) {
            if sum > common {
                *side = shares(common, side);
            }
        }
        for ((row, column), connections) in matrix(&counts[0], &counts[1]) {
            let (one, other) = (&mut leading[before[row]], &mut following[after[column]]);
            one.connections = one.connections.saturating_sub(connections);
            other.connections = other.connections.saturating_sub(connections);
            // One that leads back to where it began translates nothing.
            if one.original != other.translated {
                result.push(Way {
                    translated: other.translated,
                    last: other.last,
                    connections,
                    ..*one
                });
            }
        }
    }
    result.extend(leading.into_iter().chain(following).filter(|way| way.connections > 0));
    result
}

fn positions(ways: &[Way], wanted: impl Fn(&Way) -> bool) -> Vec<usize> {
    ways.iter().enumerate().filter(|(_, way)| wanted(way)).map(|(index, _)| index).collect()
}

/// Where the flows are that the ways of one original name begin with, by the way's place in
/// `ways`; `seen` are the places that saw such flows as clients.
pub(super) fn clients_of(
    ways: &[&Way],
    seen: &BTreeSet<Place>,
    directory: &Directory<'_>,
) -> Vec<Option<Place>> {
    let places: Vec<Place> = ways.iter().map(|way| way.first).collect();
    let Some(way) = ways.first() else { return Vec::new() };
    link(&places, seen, |place| {
        is_confined(way.original) || directory.has(way.original.client, place)
    })
}

/// The same for the flows of servers that the ways lead to; `clients` are the places of their clients,
/// as far as they are known.
pub(super) fn servers_of(
    ways: &[&Way],
    clients: &[Option<Place>],
    seen: &BTreeSet<Place>,
    directory: &Directory<'_>,
) -> Vec<Option<Place>> {
    let mut places: Vec<Place> = ways.iter().map(|way| way.last).collect();
    let Some(way) = ways.first() else { return Vec::new() };
    let is_one = |places: &[Place]| places.iter().all(|place| Some(place) == places.first());
    // One client that comes by several ways is one client.
    let known: Option<Vec<Place>> = clients.iter().copied().collect();
    if let Some(known) = known
        && !is_one(&places)
        && is_one(&known)
    {
        places = known;
    }
    link(&places, seen, |place| {
        is_confined(way.translated) || directory.has(way.translated.server.address, place)
    })
}

/// Whether such connections cannot leave a place.
fn is_confined(route: Route) -> bool {
    route.client.is_loopback() || route.server.address.is_loopback()
}

/// The place of the flows for each of the places that translate. One that has the address itself
/// translates no other's.
fn link(
    places: &[Place],
    seen: &BTreeSet<Place>,
    is_its_own: impl Fn(Place) -> bool,
) -> Vec<Option<Place>> {
    let candidates =
        places.iter().copied().filter(|&place| seen.contains(&place) || !is_its_own(place));
    let linked: BTreeMap<Place, Place> = pair_places(candidates.collect(), seen.clone())
        .into_iter()
        .filter_map(|(place, flows)| Some((place?, flows?)))
        .collect();
    places.iter().map(|place| linked.get(place).copied()).collect()
}
