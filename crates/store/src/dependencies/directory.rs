//! Who is at an address, for ends of connections that no probe saw.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::HashMap;
use netglass_model::{Endpoint, Protocol, Timestamp};

use super::{
    fold::{Listening, Place, Seen},
    processes::GroupId,
};

/// As much of a place as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whereabouts {
    /// The host, by its number.
    pub(super) host: Option<usize>,
    /// The namespace on it.
    pub(super) place: Option<Place>,
}

impl From<Place> for Whereabouts {
    fn from(place: Place) -> Self {
        Self { host: Some(place.host), place: Some(place) }
    }
}

/// Who has which address, and who listens where.
#[derive(Debug, Default)]
pub(super) struct Directory<'s> {
    owners: HashMap<IpAddr, Vec<Place>>,
    listeners: HashMap<(Place, Protocol, Endpoint), Vec<&'s Listening>>,
}

impl<'s> Directory<'s> {
    /// The addresses and listeners of what was seen.
    pub(super) fn new(seen: &'s Seen) -> Self {
        let mut directory = Self::default();
        for host in &seen.hosts {
            let Ok(index) = seen.ids.binary_search(&host.id) else { continue };
            for address in &host.addresses {
                let owners = directory.owners.entry(address.address.to_canonical()).or_default();
                let place = Place { host: index, namespace: address.namespace };
                if !owners.contains(&place) {
                    owners.push(place);
                }
            }
        }
        for listening in &seen.listeners {
            let key = (listening.place, listening.protocol, listening.local);
            directory.listeners.entry(key).or_default().push(listening);
        }
        directory
    }

    /// Where `address` is, for a peer at `near`.
    ///
    /// A loopback address, and one that the peer's own namespace has, never lead out of it. Any
    /// other address is where its only owner is.
    pub(super) fn locate(&self, address: IpAddr, near: Place) -> Whereabouts {
        if address.is_loopback() {
            return near.into();
        }
        let owners = self.owners.get(&address).map_or(&[][..], Vec::as_slice);
        match owners {
            [] => Whereabouts::default(),
            owners if owners.contains(&near) => near.into(),
            [only] => (*only).into(),
            [first, others @ ..] => {
                let one_host = others.iter().all(|other| other.host == first.host);
                Whereabouts { host: one_host.then_some(first.host), place: None }
            }
        }
    }

    /// Whether `address` is one of this place.
    pub(super) fn has(&self, address: IpAddr, place: Place) -> bool {
        self.owners.get(&address).is_some_and(|owners| owners.contains(&place))
    }

    /// Who listens at `place` for what comes to `server` between `first` and `last`.
    ///
    /// As in the kernel, a socket bound to the very address comes before one bound to the wildcard
    /// of its family, and that before an IPv6 wildcard that takes IPv4 too. Where several share
    /// the endpoint and the time, there is no telling.
    pub(super) fn listener(
        &self,
        place: Place,
        protocol: Protocol,
        server: Endpoint,
        (first, last): (Timestamp, Timestamp),
    ) -> Option<GroupId> {
        server.port.number()?;
        let wildcards = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let wildcards = if server.address.is_ipv4() { &wildcards[..] } else { &wildcards[1..] };
        let listening = std::iter::once(&server.address)
            .chain(wildcards)
            .find_map(|&bound| {
                self.listeners.get(&(place, protocol, Endpoint::new(bound, server.port)))
            })?
            .as_slice();
        let then = |one: &&&Listening| one.first_seen <= last && one.last_seen >= first;
        // Those who scan hosts do not do it at the same moment: a short flow and its listener may
        // both be seen without their times meeting.
        if listening.iter().any(|one| then(&one)) {
            only(listening.iter().filter(then).map(|one| one.process))
        } else {
            only(listening.iter().map(|one| one.process))
        }
    }
}

/// The process that all items name, if they do.
fn only(mut processes: impl Iterator<Item = Option<GroupId>>) -> Option<GroupId> {
    let first = processes.next()??;
    processes.all(|other| other == Some(first)).then_some(first)
}
