//! What scans saw, merged into flows until the next flush.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use hashbrown::{HashMap, hash_map::Entry};
use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Host, HostAddress, HostFlow, HostId, Ledger,
    Listener, NamespaceInode, NetworkNamespace, Observations, Port, Process, Protocol, Skip,
    Timestamp,
};

use super::tracker::{Sight, Tracker, counters_of_one_sight};
use crate::socket::Socket;

/// What a collector may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows, and as many listeners and processes, between two flushes.
    pub flows: usize,
    /// Sockets that are told apart from one scan to the next.
    pub sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 262_144, sockets: 1_048_576 }
    }
}

/// How often the sockets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sightings {
    /// Once: what a connection ever did counts.
    One,
    /// Again and again: what a connection does between two scans counts, and what it did before
    /// the first one does not.
    Repeated,
}

/// The process that holds a socket, within one interval between two flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    /// Processes of one family are one party to a flow.
    group: u32,
    process: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FlowKey {
    namespace: NamespaceInode,
    local: IpAddr,
    peer: IpAddr,
    service_port: u16,
    protocol: Protocol,
    direction: Direction,
    group: Option<u32>,
}

#[derive(Debug)]
struct FlowEntry {
    counters: FlowCounters,
    process: Option<u32>,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ListenerKey {
    namespace: NamespaceInode,
    local: Endpoint,
    protocol: Protocol,
    group: Option<u32>,
}

#[derive(Debug)]
struct ListenerEntry {
    process: Option<u32>,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct GroupKey {
    family: u32,
    pgid: u32,
    comm: String,
}

/// What scans saw, merged into flows until the next flush.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    tracker: Option<Tracker>,
    flows: HashMap<FlowKey, FlowEntry, foldhash::quality::RandomState>,
    listeners: HashMap<ListenerKey, ListenerEntry, foldhash::quality::RandomState>,
    processes: Vec<Arc<Process>>,
    holders: HashMap<Arc<Process>, Holder, foldhash::quality::RandomState>,
    groups: HashMap<GroupKey, u32, foldhash::quality::RandomState>,
    namespaces: BTreeMap<NamespaceInode, (NetworkNamespace, Vec<IpAddr>)>,
    ledger: Ledger,
    now: Timestamp,
}

impl Collector {
    /// An empty collector.
    #[must_use]
    pub fn new(sightings: Sightings, limits: Limits) -> Self {
        let tracker = match sightings {
            Sightings::One => None,
            Sightings::Repeated => Some(Tracker::new(limits.sockets)),
        };
        Self {
            limits,
            tracker,
            flows: HashMap::default(),
            listeners: HashMap::default(),
            processes: Vec::new(),
            holders: HashMap::default(),
            groups: HashMap::default(),
            namespaces: BTreeMap::new(),
            ledger: Ledger::default(),
            now: Timestamp::default(),
        }
    }

    /// What became of every socket that was seen.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was seen since the last flush.
    #[must_use]
    pub fn observations(&self, host: HostId, own_namespace: NamespaceInode) -> Observations {
        let process = |index: Option<u32>| -> Option<Arc<Process>> {
            self.processes.get(usize::try_from(index?).ok()?).cloned()
        };
        let addresses = self.namespaces.iter().flat_map(|(&namespace, (_, addresses))| {
            addresses.iter().map(move |&address| HostAddress { namespace, address })
        });
        let flows = self.flows.iter().map(|(key, entry)| {
            let service = Port::Number(key.service_port);
            let (local_port, peer_port) = match key.direction {
                Direction::Active => (Port::Many, service),
                Direction::Passive => (service, Port::Many),
            };
            let process = process(entry.process);
            HostFlow {
                namespace: key.namespace,
                protocol: key.protocol,
                direction: key.direction,
                local: Endpoint::new(key.local, local_port),
                peer: Endpoint::new(key.peer, peer_port),
                attribution: match process {
                    Some(_) => Attribution::Socket,
                    None => Attribution::Namespace,
                },
                process,
                counters: entry.counters,
                first_seen: entry.first_seen,
                last_seen: entry.last_seen,
            }
        });
        let listeners = self.listeners.iter().map(|(key, entry)| Listener {
            namespace: key.namespace,
            protocol: key.protocol,
            local: key.local,
            process: process(entry.process),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
        });
        Observations {
            host: Host { id: host, namespace: own_namespace, addresses: addresses.collect() },
            namespaces: self.namespaces.values().map(|(identity, _)| identity.clone()).collect(),
            flows: flows.collect(),
            listeners: listeners.collect(),
        }
    }

    /// The database has taken what [`Collector::observations`] gave: a new interval begins.
    pub fn flushed(&mut self) {
        self.ledger.flushed();
        self.flows.clear();
        self.listeners.clear();
        self.processes.clear();
        self.holders.clear();
        self.groups.clear();
        self.namespaces.clear();
        if let Some(tracker) = &mut self.tracker {
            tracker.begin_interval();
        }
    }

    /// There will be no further flush: what still waits is lost.
    pub fn abandon(&mut self) {
        self.ledger.abandoned(Skip::Database);
    }

    pub(super) fn begin_scan(&mut self, now: Timestamp) {
        self.now = now;
        if let Some(tracker) = &mut self.tracker {
            tracker.begin_scan();
        }
    }

    pub(super) fn end_scan(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.end_scan();
        }
    }

    pub(super) fn namespace(&mut self, identity: &NetworkNamespace, addresses: Vec<IpAddr>) {
        self.namespaces.insert(identity.inode, (identity.clone(), addresses));
    }

    /// The handle of a process; `None` for lack of room.
    pub(super) fn holder(&mut self, process: &Arc<Process>) -> Option<Holder> {
        if let Some(&holder) = self.holders.get(process) {
            return Some(holder);
        }
        if self.processes.len() >= self.limits.flows {
            return None;
        }
        let next_group = u32::try_from(self.groups.len()).ok()?;
        let group =
            GroupKey { family: process.family, pgid: process.pgid, comm: process.comm.clone() };
        let holder = Holder {
            group: *self.groups.entry(group).or_insert(next_group),
            process: u32::try_from(self.processes.len()).ok()?,
        };
        self.processes.push(Arc::clone(process));
        self.holders.insert(Arc::clone(process), holder);
        Some(holder)
    }

    /// Counts a socket that will not be stored.
    pub(super) fn skip(&mut self, reason: Skip) {
        self.ledger.skip(reason, 1);
    }

    /// Counts a socket for which there is no room.
    pub(super) fn skip_for_lack_of_room(&mut self) {
        self.lose_track();
        self.skip(Skip::TableFull);
    }

    /// Some sockets are not seen in this scan: where the next one sees them, they are not new.
    pub(super) fn lose_track(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.leave_out();
        }
    }

    /// Counts one sight of a socket that has a peer. Once seen, a connection keeps its `direction`:
    /// the server may stop listening while it lasts.
    pub(super) fn connection(
        &mut self,
        namespace: NamespaceInode,
        socket: &Socket,
        direction: Direction,
        holder: Option<Holder>,
    ) {
        let direction = match &self.tracker {
            Some(tracker) => tracker.direction(namespace, socket).unwrap_or(direction),
            None => direction,
        };
        let key = FlowKey {
            namespace,
            local: socket.local_address,
            peer: socket.peer_address,
            service_port: match direction {
                Direction::Active => socket.peer_port,
                Direction::Passive => socket.local_port,
            },
            protocol: socket.protocol,
            direction,
            group: holder.map(|holder| holder.group),
        };
        let is_full = self.flows.len() >= self.limits.flows;
        let entry = match self.flows.entry(key) {
            Entry::Vacant(_) if is_full => return self.skip_for_lack_of_room(),
            entry => entry,
        };
        let adds = match &mut self.tracker {
            None => counters_of_one_sight(socket),
            Some(tracker) => match tracker.observe(namespace, socket, direction) {
                Sight::Adds(adds) => adds,
                Sight::Nothing => return self.ledger.pend(1),
                Sight::NoRoom => return self.skip_for_lack_of_room(),
            },
        };
        self.ledger.pend(1);
        let process = holder.map(|holder| holder.process);
        match entry {
            Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                entry.counters.combine(&adds);
                entry.process = older(&self.processes, entry.process, process);
                entry.last_seen = self.now;
            }
            Entry::Vacant(entry) => {
                entry.insert(FlowEntry {
                    counters: adds,
                    process,
                    first_seen: self.now,
                    last_seen: self.now,
                });
            }
        }
    }

    /// Counts one sight of a socket that waits for peers at `local`.
    pub(super) fn listener(
        &mut self,
        namespace: NamespaceInode,
        protocol: Protocol,
        local: Endpoint,
        holder: Option<Holder>,
    ) {
        let key =
            ListenerKey { namespace, local, protocol, group: holder.map(|holder| holder.group) };
        let process = holder.map(|holder| holder.process);
        let is_full = self.listeners.len() >= self.limits.flows;
        match self.listeners.entry(key) {
            Entry::Vacant(_) if is_full => return self.skip_for_lack_of_room(),
            Entry::Vacant(entry) => {
                entry.insert(ListenerEntry { process, first_seen: self.now, last_seen: self.now });
            }
            Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                entry.process = older(&self.processes, entry.process, process);
                entry.last_seen = self.now;
            }
        }
        self.ledger.pend(1);
    }
}

/// The older one of two processes of a group.
fn older(processes: &[Arc<Process>], one: Option<u32>, other: Option<u32>) -> Option<u32> {
    if one == other {
        return one;
    }
    let age = |index: Option<u32>| {
        let process = processes.get(usize::try_from(index?).ok()?)?;
        Some((process.start_time, process.pid))
    };
    match (age(one), age(other)) {
        (Some(of_one), Some(of_other)) if of_other < of_one => other,
        (None, _) => other,
        _ => one,
    }
}
