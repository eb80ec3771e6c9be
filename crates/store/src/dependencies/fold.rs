//! Reading a window of time, and folding what is told of one flow into one.

use std::{hash::Hash, sync::Arc};

use foldhash::{HashMap, HashSet};
use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Host, HostFlow, HostId, Listener,
    NamespaceInode, NetworkNamespace, Port, Process, Protocol, Route, Timestamp, Translation,
};

use super::processes::{self, GroupId, Groups};
use crate::{Error, Family, Selection, Snapshot};

/// Where sockets are: a host, by its place in [`Seen::ids`], and a network namespace on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) host: usize,
    pub(super) namespace: NamespaceInode,
}

/// A flow of one group of processes, over the whole window.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) key: FlowKey<Option<GroupId>>,
    pub(super) counted: Counted,
}

/// What makes a flow itself, with the process as `P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FlowKey<P> {
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    pub(super) direction: Direction,
    pub(super) local: Endpoint,
    pub(super) peer: Endpoint,
    pub(super) process: P,
}

/// What makes a listener itself, with the process as `P`.
type ListenerKey<P> = (Place, Protocol, Endpoint, P);

/// What is told of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) attribution: Attribution,
    pub(super) counters: FlowCounters,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

/// A listening socket of one group of processes, over the whole window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    pub(super) local: Endpoint,
    pub(super) process: Option<GroupId>,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

/// What a place did to the addresses of connections, over the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Translating {
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    pub(super) original: Route,
    pub(super) translated: Route,
    pub(super) connections: u64,
}

/// All that was seen within a window.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The hosts that reported.
    pub(super) hosts: Vec<Host>,
    /// What makes each host itself, sorted.
    pub(super) ids: Vec<HostId>,
    /// The names of namespaces that have one.
    pub(super) names: HashMap<Place, String>,
    /// The groups of processes.
    pub(super) groups: Groups,
    /// The flows.
    pub(super) flows: Vec<Flow>,
    /// The listeners.
    pub(super) listeners: Vec<Listening>,
    /// The translations of addresses, in an order of their own.
    pub(super) translations: Vec<Translating>,
}

impl Seen {
    /// The namespace of a place with its name.
    pub(super) fn namespace(&self, place: Place) -> NetworkNamespace {
        NetworkNamespace { inode: place.namespace, name: self.names.get(&place).cloned() }
    }
}

/// Reads all that was seen.
pub(super) fn read(snapshot: &mut dyn Snapshot) -> Result<Seen, Error> {
    let mut reading = Reading::default();
    reading.read_flows(snapshot, None)?;
    reading.read_listeners(snapshot, None)?;
    reading.read_translations(snapshot)?;
    let hosts = snapshot.hosts()?;
    finish(reading, snapshot, hosts)
}

/// Puts together what was read, with the names of its namespaces.
pub(super) fn finish(
    mut reading: Reading,
    snapshot: &mut dyn Snapshot,
    hosts: Vec<Host>,
) -> Result<Seen, Error> {
    let met: HashSet<HostId> = reading.hosts.values.iter().cloned().collect();
    for host in &hosts {
        reading.hosts.index(&host.id);
    }
    let mut seen = reading.finish();
    let met: Vec<HostId> = seen.ids.iter().filter(|id| met.contains(id)).cloned().collect();
    let Seen { ids, names, .. } = &mut seen;
    snapshot.namespaces(&met, &mut |id, NetworkNamespace { inode, name }| {
        if let (Ok(host), Some(name)) = (ids.binary_search(id), name) {
            names.insert(Place { host, namespace: inode }, name);
        }
    })?;
    seen.hosts = hosts;
    Ok(seen)
}

/// Numbers for what is met again and again.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<T, usize>,
    /// By their numbers.
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), values: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Numbered<T> {
    fn index(&mut self, value: &T) -> usize {
        if let Some(&index) = self.numbers.get(value) {
            return index;
        }
        let index = self.values.len();
        self.numbers.insert(value.clone(), index);
        self.values.push(value.clone());
        index
    }
}

/// Flows by what makes them themselves, each folded into one.
type Flows = HashMap<(FlowKey<Option<usize>>, Attribution), Counted>;

/// What was read so far. Hosts and processes have the numbers in which they were met.
#[derive(Debug, Default)]
pub(super) struct Reading {
    hosts: Numbered<HostId>,
    processes: Numbered<(usize, Arc<Process>)>,
    flows: Flows,
    listeners: HashMap<ListenerKey<Option<usize>>, (Timestamp, Timestamp)>,
    /// The processes that listen, by port.
    listening: HashMap<(Protocol, Port), Vec<usize>>,
    translations: HashMap<(Place, Protocol, Route, Route), Translation>,
}

impl Reading {
    /// Reads flows, and returns those that had not been read before.
    pub(super) fn read_flows(
        &mut self,
        snapshot: &mut dyn Snapshot,
        wanted: Option<&Selection>,
    ) -> Result<Vec<FlowKey<Option<usize>>>, Error> {
        let mut part = Flows::default();
        snapshot.flows(wanted, &mut |host, flow| self.fold(&mut part, host, flow))?;
        let mut new = Vec::new();
        for (key, counted) in part {
            self.flows.entry(key).or_insert_with(|| {
                new.push(key.0);
                counted
            });
        }
        Ok(new)
    }

    /// Reads listeners, of none of which anything was read before.
    pub(super) fn read_listeners(
        &mut self,
        snapshot: &mut dyn Snapshot,
        wanted: Option<&Selection>,
    ) -> Result<(), Error> {
        snapshot.listeners(wanted, &mut |host, listener| self.add_listener(host, &listener))
    }

    /// Reads all translations.
    pub(super) fn read_translations(&mut self, snapshot: &mut dyn Snapshot) -> Result<(), Error> {
        snapshot.translations(&mut |host, it| self.add_translation(host, it))
    }

    /// Who translates, and which addresses, as far as it was read.
    pub(super) fn translations(&self) -> impl Iterator<Item = (&HostId, Protocol, [Route; 2])> {
        self.translations.keys().map(|(place, protocol, original, translated)| {
            (self.host(place.host), *protocol, [*original, *translated])
        })
    }

    /// The host with this number.
    pub(super) fn host(&self, number: usize) -> &HostId {
        &self.hosts.values[number]
    }

    /// The family of the process with this number.
    pub(super) fn family(&self, process: usize) -> Family {
        let (host, process) = &self.processes.values[process];
        Family::of(self.host(*host), process)
    }

    /// The processes that listen at this port, anywhere.
    pub(super) fn listening_at(&self, protocol: Protocol, port: Port) -> &[usize] {
        self.listening.get(&(protocol, port)).map_or(&[], Vec::as_slice)
    }

    /// The host of the process with this number.
    pub(super) fn host_of(&self, process: usize) -> &HostId {
        self.host(self.processes.values[process].0)
    }

    /// Where these families listen, as far as it was read.
    pub(super) fn listeners_of(
        &self,
        families: &HashSet<Family>,
    ) -> impl Iterator<Item = (&HostId, NamespaceInode, Protocol, Endpoint)> {
        self.listeners.keys().filter_map(|&(place, protocol, local, process)| {
            let is_of_them = families.contains(&self.family(process?));
            is_of_them.then(|| (self.host(place.host), place.namespace, protocol, local))
        })
    }

    /// Adds a process of which nothing else was read.
    pub(super) fn add_process(&mut self, host: &HostId, process: Arc<Process>) {
        let host = self.hosts.index(host);
        self.processes.index(&(host, process));
    }

    fn fold(&mut self, flows: &mut Flows, host: &HostId, flow: HostFlow) {
        let host = self.hosts.index(host);
        let key = FlowKey {
            place: Place { host, namespace: flow.namespace },
            protocol: flow.protocol,
            direction: flow.direction,
            local: flow.local,
            peer: flow.peer,
            process: flow.process.map(|process| self.processes.index(&(host, process))),
        };
        flows
            .entry((key, flow.attribution))
            .and_modify(|counted| {
                counted.counters.append(&flow.counters);
                counted.first_seen = counted.first_seen.min(flow.first_seen);
                counted.last_seen = counted.last_seen.max(flow.last_seen);
            })
            .or_insert(Counted {
                attribution: flow.attribution,
                counters: flow.counters,
                first_seen: flow.first_seen,
                last_seen: flow.last_seen,
            });
    }

    fn add_listener(&mut self, host: &HostId, listener: &Listener) {
        let host = self.hosts.index(host);
        let place = Place { host, namespace: listener.namespace };
        let process =
            listener.process.as_ref().map(|one| self.processes.index(&(host, Arc::clone(one))));
        if let Some(process) = process {
            let at_port =
                self.listening.entry((listener.protocol, listener.local.port)).or_default();
            if !at_port.contains(&process) {
                at_port.push(process);
            }
        }
        let seen = self
            .listeners
            .entry((place, listener.protocol, listener.local, process))
            .or_insert((listener.first_seen, listener.last_seen));
        seen.0 = seen.0.min(listener.first_seen);
        seen.1 = seen.1.max(listener.last_seen);
    }

    fn add_translation(&mut self, host: &HostId, translation: Translation) {
        let place = Place { host: self.hosts.index(host), namespace: translation.namespace };
        let Translation { protocol, original, translated, .. } = translation;
        self.translations
            .entry((place, protocol, original, translated))
            .and_modify(|known| known.append(translation.connections, translation.opened))
            .or_insert(translation);
    }

    /// Numbers hosts and processes in an order of their own, and puts the flows of one group of
    /// processes together.
    fn finish(self) -> Seen {
        let met = self.hosts.values;
        let mut ids = met.clone();
        ids.sort_unstable();
        let host_of: Vec<usize> =
            met.iter().map(|id| ids.binary_search(id).unwrap_or_default()).collect();
        let place_of = |place: Place| Place { host: host_of[place.host], ..place };

        let processes: Vec<_> = self
            .processes
            .values
            .into_iter()
            .map(|(host, process)| (host_of[host], process))
            .collect();
        let (groups, group_of) = processes::group(&processes);

        let mut flows: HashMap<FlowKey<Option<GroupId>>, Counted> = HashMap::default();
        for ((key, _), counted) in self.flows {
            let key = FlowKey {
                place: place_of(key.place),
                protocol: key.protocol,
                direction: key.direction,
                local: key.local,
                peer: key.peer,
                process: key.process.map(|process| group_of[process]),
            };
            flows
                .entry(key)
                .and_modify(|sum| {
                    sum.attribution = sum.attribution.max(counted.attribution);
                    sum.counters.combine(&counted.counters);
                    sum.first_seen = sum.first_seen.min(counted.first_seen);
                    sum.last_seen = sum.last_seen.max(counted.last_seen);
                })
                .or_insert(counted);
        }
        let mut listeners: HashMap<ListenerKey<Option<GroupId>>, (Timestamp, Timestamp)> =
            HashMap::default();
        for ((place, protocol, local, process), seen) in self.listeners {
            let process = process.map(|process| group_of[process]);
            let sum = listeners.entry((place_of(place), protocol, local, process)).or_insert(seen);
            *sum = (sum.0.min(seen.0), sum.1.max(seen.1));
        }
        let mut translations: Vec<_> = self
            .translations
            .into_iter()
            .map(|((place, protocol, original, translated), told)| Translating {
                place: place_of(place),
                protocol,
                original,
                translated,
                connections: told.connections,
            })
            .collect();
        translations.sort_unstable();
        Seen {
            ids,
            groups,
            translations,
            flows: flows.into_iter().map(|(key, counted)| Flow { key, counted }).collect(),
            listeners: listeners
                .into_iter()
                .map(|((place, protocol, local, process), (first_seen, last_seen))| Listening {
                    place,
                    protocol,
                    local,
                    process,
                    first_seen,
                    last_seen,
                })
                .collect(),
            ..Seen::default()
        }
    }
}
