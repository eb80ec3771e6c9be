//! Reading no more than what a question takes: the flows of the nodes that are asked about, then,
//! step by step, those of the processes at the other ends.
//!
//! The answer is the one that all flows would give. For that, what both ends saw of a service is
//! read whole, and so are the members of each family, as the oldest one stands for it. Services that
//! translations lead to or from each other ([`related`]) are read together.

mod related;

use std::{collections::BTreeSet, net::IpAddr};

use foldhash::{HashMap, HashSet};
use netglass_model::{Direction, Endpoint, Host, HostId};

use self::related::Related;
use super::fold::{self, FlowKey, Reading, Seen};
use crate::{Error, Family, Place, Selection, Server, Service, Snapshot};

/// What is asked about: nodes of which all conditions hold, and what is around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// On one of these hosts; on any where there are none.
    pub hosts: Vec<HostId>,
    /// At this address, if any.
    pub address: Option<IpAddr>,
    /// Of processes with this name, if any.
    pub process: Option<String>,
    /// How many dependencies are followed from each of them, at least one.
    pub depth: u32,
}

impl Interest {
    /// Whether anything but the depth is said. Without, all that was seen is of interest.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        !self.hosts.is_empty() || self.address.is_some() || self.process.is_some()
    }
}

/// Reads what an answer about `interest` takes.
pub(super) fn read(
    snapshot: &mut dyn Snapshot,
    interest: &Interest,
    hosts: Vec<Host>,
) -> Result<Seen, Error> {
    let mut reading = Reading::default();
    reading.read_translations(snapshot)?;
    let mut search = Search {
        related: Related::new(reading.translations()),
        snapshot,
        owners: owners(&hosts),
        hosts: hosts.iter().map(|host| (&host.id, host)).collect(),
        reading,
        services: HashSet::default(),
        families: HashSet::default(),
        complete: HashSet::default(),
        listening: HashSet::default(),
        frontier: HashSet::default(),
    };
    let mut wanted = search.seeds(interest)?;
    for left in (0..interest.depth.max(1)).rev() {
        if wanted.is_empty() {
            break;
        }
        search.advance(&wanted)?;
        let families = search.met()?;
        wanted = if left > 0 { search.at_work(families)? } else { Selection::default() };
    }
    let reading = search.reading;
    fold::finish(reading, snapshot, hosts)
}

/// The hosts that have an address.
fn owners(hosts: &[Host]) -> HashMap<IpAddr, Vec<&HostId>> {
    let mut owners: HashMap<IpAddr, Vec<&HostId>> = HashMap::default();
    for host in hosts {
        for address in &host.addresses {
            let of_address = owners.entry(address.address.to_canonical()).or_default();
            if of_address.last() != Some(&&host.id) {
                of_address.push(&host.id);
            }
        }
    }
    owners
}

struct Search<'d> {
    snapshot: &'d mut dyn Snapshot,
    hosts: HashMap<&'d HostId, &'d Host>,
    owners: HashMap<IpAddr, Vec<&'d HostId>>,
    reading: Reading,
    related: Related,
    /// The services of which everything is read.
    services: HashSet<Service>,
    /// The families of which everything is read.
    families: HashSet<Family>,
    /// The families whose members are read.
    complete: HashSet<Family>,
    /// The hosts whose listeners are read.
    listening: HashSet<HostId>,
    /// The processes that were met, by the numbers of `reading`.
    frontier: HashSet<usize>,
}

impl<'d> Search<'d> {
    /// The nodes that are asked about, by the most telling of the conditions; others are left to
    /// whoever asks.
    fn seeds(&mut self, interest: &Interest) -> Result<Selection, Error> {
        if !interest.hosts.is_empty() {
            let of_interest = interest.hosts.iter().filter_map(|id| self.hosts.get(id));
            let addresses = of_interest.flat_map(|host| &host.addresses).map(|it| it.address);
            return Ok(Selection {
                hosts: interest.hosts.clone(),
                addresses: addresses.filter(|address| !address.is_loopback()).collect(),
                ..Selection::default()
            });
        }
        if let Some(address) = interest.address {
            return Ok(Selection { addresses: vec![address], ..Selection::default() });
        }
        let names: Vec<String> = interest.process.iter().cloned().collect();
        self.at_work(Selection { names, ..Selection::default() })
    }

    /// Adds the services where the wanted processes listen: a server that no probe saw at work is
    /// known by its listener.
    fn at_work(&mut self, mut wanted: Selection) -> Result<Selection, Error> {
        let (hosts, mut servers) = (&self.hosts, BTreeSet::new());
        let mut add = |id: &HostId, namespace, protocol, local: Endpoint| {
            let Some(port) = local.port.number() else { return };
            if local.address.is_loopback() {
                let place = Place::On(id.clone(), Some(local.address));
                servers.insert(Server { protocol, port, place });
            } else if local.address.is_unspecified() {
                servers.insert(Server { protocol, port, place: Place::On(id.clone(), None) });
                let addresses = (hosts.get(id).into_iter())
                    .flat_map(|host| &host.addresses)
                    .filter(|it| it.namespace == namespace && !it.address.is_loopback());
                servers.extend(addresses.map(|it| Server {
                    protocol,
                    port,
                    place: Place::At(it.address.to_canonical()),
                }));
            } else {
                servers.insert(Server { protocol, port, place: Place::At(local.address) });
            }
        };
        let (read, others): (HashSet<Family>, _) =
            wanted.families.iter().cloned().partition(|it| self.listening.contains(&it.host));
        for (id, namespace, protocol, local) in self.reading.listeners_of(&read) {
            add(id, namespace, protocol, local);
        }
        let others = Selection { families: others.into_iter().collect(), ..wanted.clone() };
        if !others.is_empty() {
            self.snapshot.listeners(Some(&others), &mut |id, listener| {
                add(id, listener.namespace, listener.protocol, listener.local);
            })?;
        }
        wanted.servers.extend(servers);
        Ok(wanted)
    }

    /// Reads the wanted flows, and whatever anybody else saw of the same services.
    fn advance(&mut self, wanted: &Selection) -> Result<(), Error> {
        self.families.extend(wanted.families.iter().cloned());
        let mut met = self.reading.read_flows(self.snapshot, Some(wanted))?;
        let whole: Vec<Service> = met.iter().map(|key| self.service(key)).collect();
        self.services.extend(whole.iter().cloned());
        let services: BTreeSet<Service> = (whole.iter().cloned())
            .chain(self.related.touched(wanted))
            .flat_map(|service| self.related.to(&service))
            .filter(|service| !self.services.contains(service))
            .collect();
        let wanted =
            Selection { services: services.iter().cloned().collect(), ..Selection::default() };
        if !wanted.is_empty() {
            met.extend(self.reading.read_flows(self.snapshot, Some(&wanted))?);
        }
        self.services.extend(services);
        self.read_listeners(&met)?;
        for key in &met {
            self.meet(key);
        }
        Ok(())
    }

    fn service(&self, key: &FlowKey<Option<usize>>) -> Service {
        let here = self.reading.host(key.place.host);
        Service::of_ends(here, key.protocol, key.direction, key.local, key.peer)
    }

    /// The hosts that have this address.
    fn owners_of(&self, address: IpAddr) -> impl Iterator<Item = &'d HostId> {
        self.owners.get(&address.to_canonical()).into_iter().flatten().copied()
    }

    /// Reads who listens where a server's process may not be known.
    fn read_listeners(&mut self, met: &[FlowKey<Option<usize>>]) -> Result<(), Error> {
        let mut hosts = BTreeSet::new();
        let mut add = |host: &HostId| {
            if !self.listening.contains(host) && !hosts.contains(host) {
                hosts.insert(host.clone());
            }
        };
        for key in met {
            let here = self.reading.host(key.place.host);
            if key.direction == Direction::Passive || key.peer.address.is_loopback() {
                add(here);
            } else {
                self.owners_of(key.peer.address).for_each(&mut add);
            }
            for service in self.related.to(&self.service(key)) {
                self.owners_of(service.server.address).for_each(&mut add);
                service.host.iter().for_each(&mut add);
            }
        }
        let wanted = Selection { hosts: hosts.into_iter().collect(), ..Selection::default() };
        if !wanted.is_empty() {
            self.reading.read_listeners(self.snapshot, Some(&wanted))?;
            self.listening.extend(wanted.hosts);
        }
        Ok(())
    }

    /// Notes the processes at either end of a flow, as far as they may be.
    fn meet(&mut self, key: &FlowKey<Option<usize>>) {
        self.frontier.extend(key.process);
        let here = self.reading.host(key.place.host);
        // A server at a loopback address, and one whose own end was seen, is on that very host.
        for service in self.related.to(&self.service(key)) {
            let is_here = service.server.address.is_loopback()
                || (key.direction == Direction::Passive && service.server == key.local);
            for &process in self.reading.listening_at(service.protocol, service.server.port) {
                let host = self.reading.host_of(process);
                if host == here
                    || service.host.as_ref() == Some(host)
                    || (!is_here && self.owners_of(service.server.address).any(|it| it == host))
                {
                    self.frontier.insert(process);
                }
            }
        }
    }

    /// The families that were met, and those to which their members belonged under other names: what
    /// the next step starts from. Who stands for a family may have no flow, and is read here.
    fn met(&mut self) -> Result<Selection, Error> {
        let mut families: BTreeSet<Family> =
            self.frontier.drain().map(|process| self.reading.family(process)).collect();
        let new: Vec<Family> =
            families.iter().filter(|family| !self.complete.contains(family)).cloned().collect();
        if !new.is_empty() {
            let reading = &mut self.reading;
            self.snapshot.members(&new, &mut |host, process| {
                families.insert(Family::of(host, &process));
                reading.add_process(host, process);
            })?;
        }
        self.complete.extend(new);
        families.retain(|family| !self.families.contains(family));
        Ok(Selection { families: families.into_iter().collect(), ..Selection::default() })
    }
}
