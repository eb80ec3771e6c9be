//! What was seen, merged into flows until the next flush.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use hashbrown::{HashMap, hash_map::Entry};
use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Host, HostAddress, HostFlow, HostId, Lack,
    Ledger, Listener, NamespaceInode, NetworkNamespace, Observations, Port, Process, Protocol,
    Skip, Timestamp, Translation,
};

use crate::conntrack::{Counted, TranslationKey};

/// What a collector may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows, and as many listeners, translations and processes, between two flushes.
    pub flows: usize,
    /// Sockets that are told apart from one scan to the next.
    pub sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 262_144, sockets: 1_048_576 }
    }
}

/// The process that holds a socket, within one interval between two flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    /// Processes of one family are one party to a flow.
    group: u32,
}

/// Which flow something is to be added to, but for whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowEnds {
    pub(crate) namespace: NamespaceInode,
    pub(crate) local: IpAddr,
    pub(crate) peer: IpAddr,
    pub(crate) service_port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) direction: Direction,
}

/// How something is added to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addition {
    /// It is of other connections of the same time.
    Beside,
    /// It is of the same and of other connections, of the time that follows.
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code, reason = "kernel programs alone say it"))]
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FlowKey {
    ends: FlowEnds,
    group: Option<u32>,
    /// What is known in another way is other connections: they stay apart, since what is stored of
    /// both is added up.
    attribution: Attribution,
}

#[derive(Debug)]
struct FlowEntry {
    counters: FlowCounters,
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
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    family: u32,
    pgid: u32,
    comm: String,
}

/// The processes of one family.
#[derive(Debug)]
struct Group {
    /// The one that stands for all: the oldest, unless another one did in the interval before. Were
    /// it another one each time, a connection that lasts would be one of each.
    process: Arc<Process>,
    is_settled: bool,
}

/// What was seen, merged into flows until the next flush.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    flows: HashMap<FlowKey, FlowEntry, foldhash::quality::RandomState>,
    listeners: HashMap<ListenerKey, ListenerEntry, foldhash::quality::RandomState>,
    translations:
        HashMap<(NamespaceInode, TranslationKey), Translation, foldhash::quality::RandomState>,
    holders: HashMap<Arc<Process>, Holder, foldhash::quality::RandomState>,
    groups: Vec<Group>,
    group_of: HashMap<GroupKey, u32, foldhash::quality::RandomState>,
    /// Who stood for the groups of the interval before.
    settled: HashMap<GroupKey, Arc<Process>, foldhash::quality::RandomState>,
    namespaces: BTreeMap<NamespaceInode, (NetworkNamespace, Vec<IpAddr>)>,
    ledger: Ledger,
    now: Timestamp,
}

impl Collector {
    /// An empty collector.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            flows: HashMap::default(),
            listeners: HashMap::default(),
            translations: HashMap::default(),
            holders: HashMap::default(),
            groups: Vec::new(),
            group_of: HashMap::default(),
            settled: HashMap::default(),
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
        let process = |group: Option<u32>| -> Option<Arc<Process>> {
            let group = self.groups.get(usize::try_from(group?).ok()?)?;
            Some(Arc::clone(&group.process))
        };
        let addresses = self.namespaces.iter().flat_map(|(&namespace, (_, addresses))| {
            addresses.iter().map(move |&address| HostAddress { namespace, address })
        });
        let flows = self.flows.iter().map(|(key, entry)| {
            let ends = key.ends;
            let service = Port::Number(ends.service_port);
            let (local_port, peer_port) = match ends.direction {
                Direction::Active => (Port::Many, service),
                Direction::Passive => (service, Port::Many),
            };
            HostFlow {
                namespace: ends.namespace,
                protocol: ends.protocol,
                direction: ends.direction,
                local: Endpoint::new(ends.local, local_port),
                peer: Endpoint::new(ends.peer, peer_port),
                attribution: key.attribution,
                process: process(key.group),
                counters: entry.counters,
                first_seen: entry.first_seen,
                last_seen: entry.last_seen,
            }
        });
        let listeners = self.listeners.iter().map(|(key, entry)| Listener {
            namespace: key.namespace,
            protocol: key.protocol,
            local: key.local,
            process: process(key.group),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
        });
        Observations {
            host: Host { id: host, namespace: own_namespace, addresses: addresses.collect() },
            namespaces: self.namespaces.values().map(|(identity, _)| identity.clone()).collect(),
            flows: flows.collect(),
            listeners: listeners.collect(),
            translations: self.translations.values().copied().collect(),
        }
    }

    /// The database has taken what [`Collector::observations`] gave: a new interval begins.
    pub fn flushed(&mut self) {
        self.ledger.flushed();
        self.flows.clear();
        self.listeners.clear();
        self.translations.clear();
        self.holders.clear();
        let groups = std::mem::take(&mut self.groups);
        self.settled.clear();
        for (key, group) in self.group_of.drain() {
            if let Some(group) = groups.get(group as usize) {
                self.settled.insert(key, Arc::clone(&group.process));
            }
        }
        self.namespaces.clear();
    }

    /// There will be no further flush: what still waits is lost.
    pub fn abandon(&mut self) {
        self.ledger.abandoned(Skip::Database);
    }

    /// What is added from now on is of this moment.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub(crate) fn namespace(&mut self, identity: &NetworkNamespace, addresses: Vec<IpAddr>) {
        self.namespaces.insert(identity.inode, (identity.clone(), addresses));
    }

    /// The handle of a process; `None` for lack of room.
    pub(crate) fn holder(&mut self, process: &Arc<Process>) -> Option<Holder> {
        if let Some(&holder) = self.holders.get(process) {
            return Some(holder);
        }
        if self.holders.len() >= self.limits.flows {
            return None;
        }
        let next = u32::try_from(self.groups.len()).ok()?;
        let key =
            GroupKey { family: process.family, pgid: process.pgid, comm: process.comm.clone() };
        let group = match self.group_of.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let settled = self.settled.get(entry.key());
                self.groups.push(Group {
                    process: Arc::clone(settled.unwrap_or(process)),
                    is_settled: settled.is_some(),
                });
                *entry.insert(next)
            }
        };
        if let Some(group) = self.groups.get_mut(group as usize)
            && !group.is_settled
            && is_older(process, &group.process)
        {
            group.process = Arc::clone(process);
        }
        let holder = Holder { group };
        self.holders.insert(Arc::clone(process), holder);
        Some(holder)
    }

    /// Counts sightings that will not be stored.
    pub(crate) fn skip(&mut self, reason: Skip, sightings: u64) {
        self.ledger.skip(reason, sightings);
    }

    /// Counts what is stored but lacks something.
    pub(crate) fn lack(&mut self, what: Lack, count: u64) {
        self.ledger.lack(what, count);
    }

    /// Adds what was found of translated connections since the last time.
    pub(crate) fn translation(
        &mut self,
        namespace: NamespaceInode,
        key: &TranslationKey,
        counted: Counted,
    ) {
        let is_full = self.translations.len() >= self.limits.flows;
        match self.translations.entry((namespace, *key)) {
            Entry::Vacant(_) if is_full => {
                self.ledger.lack(Lack::TranslationTableFull, counted.found);
            }
            Entry::Vacant(entry) => {
                entry.insert(Translation {
                    namespace,
                    protocol: key.protocol,
                    original: key.original,
                    translated: key.translated,
                    connections: counted.connections,
                    opened: counted.opened,
                    first_seen: self.now,
                    last_seen: self.now,
                });
            }
            Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                entry.append(counted.connections, counted.opened);
                entry.last_seen = self.now;
            }
        }
    }

    /// Counts a sighting that adds nothing to what is known.
    pub(crate) fn nothing_new(&mut self) {
        self.ledger.pend(1);
    }

    /// Whether there is room for a flow of these ends and this holder.
    pub(crate) fn has_room_for(
        &self,
        ends: &FlowEnds,
        (holder, attribution): (Option<Holder>, Attribution),
    ) -> bool {
        let key = FlowKey { ends: *ends, group: group_of(holder), attribution };
        self.flows.len() < self.limits.flows || self.flows.contains_key(&key)
    }

    /// Adds what a number of sightings tell of a flow; for lack of room they are skipped.
    pub(crate) fn add(
        &mut self,
        ends: &FlowEnds,
        (holder, attribution): (Option<Holder>, Attribution),
        counters: &FlowCounters,
        addition: Addition,
        sightings: u64,
    ) {
        let is_full = self.flows.len() >= self.limits.flows;
        match self.flows.entry(FlowKey { ends: *ends, group: group_of(holder), attribution }) {
            Entry::Vacant(_) if is_full => {
                return self.ledger.skip(Skip::TableFull, sightings);
            }
            Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                match addition {
                    Addition::Beside => entry.counters.combine(counters),
                    Addition::After => entry.counters.append(counters),
                }
                entry.last_seen = self.now;
            }
            Entry::Vacant(entry) => {
                entry.insert(FlowEntry {
                    counters: *counters,
                    first_seen: self.now,
                    last_seen: self.now,
                });
            }
        }
        self.ledger.pend(sightings);
    }

    /// Counts one sight of a socket that waits for peers at `local`; whether there was room for it.
    #[must_use]
    pub(crate) fn listener(
        &mut self,
        namespace: NamespaceInode,
        protocol: Protocol,
        local: Endpoint,
        holder: Option<Holder>,
    ) -> bool {
        let key = ListenerKey { namespace, local, protocol, group: group_of(holder) };
        let is_full = self.listeners.len() >= self.limits.flows;
        match self.listeners.entry(key) {
            Entry::Vacant(_) if is_full => {
                self.ledger.skip(Skip::TableFull, 1);
                return false;
            }
            Entry::Vacant(entry) => {
                entry.insert(ListenerEntry { first_seen: self.now, last_seen: self.now });
            }
            Entry::Occupied(entry) => {
                let entry = entry.into_mut();
                entry.last_seen = self.now;
            }
        }
        self.ledger.pend(1);
        true
    }
}

fn group_of(holder: Option<Holder>) -> Option<u32> {
    holder.map(|holder| holder.group)
}

fn is_older(one: &Process, other: &Process) -> bool {
    (one.start_time, one.pid) < (other.start_time, other.pid)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn connections_known_in_different_ways_stay_apart_whatever_else_an_interval_sees() {
        let mut collector = Collector::new(Limits::default());
        let ends = FlowEnds {
            namespace: NamespaceInode(1),
            local: Ipv4Addr::LOCALHOST.into(),
            peer: Ipv4Addr::LOCALHOST.into(),
            service_port: 80,
            protocol: Protocol::Tcp,
            direction: Direction::Passive,
        };
        let counted = |connections| FlowCounters { connections, ..FlowCounters::default() };
        collector.add(&ends, (None, Attribution::Socket), &counted(5), Addition::After, 5);
        collector.add(&ends, (None, Attribution::Listener), &counted(2), Addition::After, 2);
        let host = HostId { machine_id: "0".to_owned(), hostname: "host".to_owned() };
        let seen = collector.observations(host, NamespaceInode(1));
        let mut flows: Vec<_> =
            seen.flows.iter().map(|flow| (flow.attribution, flow.counters.connections)).collect();
        flows.sort_unstable();
        assert_eq!(flows, [(Attribution::Socket, 5), (Attribution::Listener, 2)]);
    }

    #[test]
    fn who_stands_for_a_family_stays_the_same_from_one_interval_to_the_next() {
        let worker = |pid| {
            Arc::new(Process {
                pid,
                start_time: Timestamp::from_nanoseconds(i64::from(pid)),
                pgid: 10,
                ppid: 10,
                family: 10,
                uid: None,
                gid: None,
                comm: "nginx".to_owned(),
                exe: None,
                cgroup: None,
                container: None,
                command_line: None,
            })
        };
        let mut collector = Collector::new(Limits::default());
        let endpoint = Endpoint::numbered(Ipv4Addr::LOCALHOST.into(), 80);
        let mut interval = |pids: &[u32]| {
            for &pid in pids {
                let holder = collector.holder(&worker(pid));
                assert!(collector.listener(NamespaceInode(1), Protocol::Tcp, endpoint, holder));
            }
            let host = HostId { machine_id: "0".to_owned(), hostname: "host".to_owned() };
            let seen = collector.observations(host, NamespaceInode(1));
            collector.flushed();
            let pids = seen.listeners.iter().map(|it| it.process.as_ref().unwrap().pid);
            pids.collect::<Vec<_>>()
        };
        assert_eq!(interval(&[13, 12]), [12], "the oldest");
        assert_eq!(interval(&[11, 13]), [12], "the same as before");
        assert_eq!(interval(&[]), [0_u32; 0]);
        assert_eq!(interval(&[13, 11]), [11], "nobody was there before");
    }
}
