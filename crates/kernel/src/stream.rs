//! Every connection of this host, however short: the kernel programs of `bpf/stream.bpf.c` add up
//! what sockets do by flow, and what came together is collected once in each interval.

mod existing;
mod hook;
mod listed;
mod namespaces;
pub(crate) mod processes;
mod programs;
pub(crate) mod record;
mod sizes;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr, num::NonZeroU32, time::SystemTime};

use hashbrown::HashMap;
use netglass_model::{
    Attribution, Degradation, Endpoint, FlowCounters, Lack, NamespaceInode, Port, Protocol, Skip,
    Timestamp,
};

pub(crate) use self::programs::{try_each, try_tables};
pub use self::sizes::Sizes;

use self::{
    namespaces::NamespaceDirectory,
    processes::Processes,
    programs::{Counts, Programs},
    record::{FlowKey, ListenerRecord, ProcessRecord},
};
use crate::{
    Error,
    collector::{Addition, Collector, FlowEnds, Holder},
    degradations::Degradations,
    namespace::{self, Namespaces},
    process::{BootClock, Found},
    selection::Selection,
};

/// What is watched, and how much the kernel programs may remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    /// Which sockets.
    pub selection: Selection,
    /// How large the kernel programs' tables are.
    pub sizes: Sizes,
}

/// A flow in one collection.
type CollectedFlow = (FlowEnds, Option<Holder>, Attribution);

#[derive(Debug, Clone, Copy)]
struct Collected {
    counters: FlowCounters,
    sightings: u64,
}

/// Watches all sockets, and gives what they did as often as it is asked to.
#[derive(Debug)]
pub struct Streamer {
    selection: Selection,
    own: NamespaceInode,
    programs: Programs,
    processes: Processes,
    namespaces: NamespaceDirectory,
    degradations: Degradations,
    // Kept for their room.
    taken: Vec<(FlowKey, u64, FlowCounters)>,
    listeners: Vec<ListenerRecord>,
    flows: HashMap<CollectedFlow, Collected, foldhash::quality::RandomState>,
}

impl Streamer {
    /// Starts to watch. The namespace of the calling thread counts as the host's own.
    pub fn new(options: StreamOptions) -> Result<Self, Error> {
        Self::without(options, &[])
    }

    /// The same where some of the kernel programs cannot be had.
    fn without(options: StreamOptions, unavailable: &[&str]) -> Result<Self, Error> {
        let clock = BootClock::read()?;
        let mut degradations = Degradations::default();
        let own = Namespaces::identity(namespace::own()?);
        let wanted = (!options.selection.all_namespaces).then_some(own.inode);
        let mut processes = Processes::new(clock);
        let programs = Programs::start(
            wanted,
            options.sizes,
            unavailable,
            &mut |identity| processes.find(identity),
            &mut |it| degradations.add(it),
        )?;
        Ok(Self {
            selection: options.selection,
            own: own.inode,
            programs,
            processes,
            namespaces: NamespaceDirectory::new(own, options.selection.all_namespaces),
            degradations,
            taken: Vec::new(),
            listeners: Vec::new(),
            flows: HashMap::default(),
        })
    }

    /// The namespace that counts as the host's own.
    #[must_use]
    pub fn own_namespace(&self) -> NamespaceInode {
        self.own
    }

    /// What does not work as well as it could and was not told of before.
    pub fn take_degradations(&mut self) -> Vec<Degradation> {
        self.degradations.take()
    }

    /// Tries whether the thread that calls it may read what the kernel programs collect: what
    /// [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.programs.trial()
    }

    /// Collects what sockets did since the last time. Processes and namespaces that vanish
    /// meanwhile are no error.
    pub fn collect(&mut self, collector: &mut Collector) -> Result<(), Error> {
        collector.begin(Timestamp::from(SystemTime::now()));
        self.processes.begin_collection();
        self.take_listeners(collector)?;
        let epoch = self.programs.flip()?;
        // Whoever is named in a flow was told of before.
        self.take_processes(collector)?;
        let counts = self.take_flows(epoch, collector)?;
        self.refresh_namespaces()?;
        self.count_listeners(collector);
        self.merge_flows(collector);
        self.count_flows(collector);
        count_losses(counts, collector);
        self.namespaces.announce(collector);
        self.note_denied_executables();
        Ok(())
    }

    fn take_listeners(&mut self, collector: &mut Collector) -> Result<(), Error> {
        let Self { programs, listeners, .. } = self;
        listeners.clear();
        programs.look_at_living(&mut |record| match record {
            Some(record) => listeners.push(record),
            None => collector.skip(Skip::Malformed, 1),
        })
    }

    fn take_processes(&mut self, collector: &mut Collector) -> Result<(), Error> {
        let Self { programs, processes, .. } = self;
        programs.take_processes(&mut |bytes| {
            let found = ProcessRecord::parse(bytes).map(|record| processes.add(&record));
            if found == Some(Found::Told) {
                collector.lack(Lack::ProcessVanished, 1);
            }
        })
    }

    /// Takes the flows of an epoch, and what else was counted in it; what was lost without a trace
    /// is found by the difference.
    fn take_flows(&mut self, epoch: u32, collector: &mut Collector) -> Result<Lost, Error> {
        let Self { programs, taken, .. } = self;
        taken.clear();
        let (mut sightings, mut malformed) = (0_u64, 0_u64);
        programs.take_flows(epoch, &mut |flow| match flow {
            Some(flow) => {
                sightings += flow.1;
                taken.push(flow);
            }
            None => malformed += 1,
        })?;
        collector.skip(Skip::Malformed, malformed);
        let counts = programs.take_counts(epoch)?;
        let older = FlowCounters { connections: 1, ..FlowCounters::default() };
        taken.extend(programs.take_listed().into_iter().map(|flow| (flow, 1, older)));
        Ok(Lost { counts, found: sightings + malformed })
    }

    fn refresh_namespaces(&mut self) -> Result<(), Error> {
        let flows = self.taken.iter().map(|(key, ..)| key.namespace);
        let listeners = self.listeners.iter().map(|listener| listener.namespace);
        let named = flows.chain(listeners).filter(|inode| inode.0 != 0).collect();
        self.namespaces.refresh(&named, &mut self.degradations)?;
        // A socket on the wildcard does not tell from where it sends.
        let unknown: BTreeSet<(NamespaceInode, IpAddr)> = self
            .taken
            .iter()
            .filter(|(key, ..)| key.protocol == Protocol::Udp && key.local.is_unspecified())
            .map(|(key, ..)| (key.namespace, key.peer))
            .collect();
        self.namespaces.find_sources(&unknown);
        Ok(())
    }

    fn count_listeners(&mut self, collector: &mut Collector) {
        let mut listeners = std::mem::take(&mut self.listeners);
        for listener in listeners.drain(..) {
            match self.holder(listener.process, 1, collector) {
                Ok(holder) => {
                    let local = Endpoint::new(listener.local, Port::from(listener.port));
                    // What there is no room for is counted in the ledger.
                    let _ =
                        collector.listener(listener.namespace, listener.protocol, local, holder);
                }
                Err(NoRoom) => collector.skip(Skip::TableFull, 1),
            }
        }
        self.listeners = listeners;
    }

    /// Unites the flows of processes of one family, which the kernel programs tell apart.
    fn merge_flows(&mut self, collector: &mut Collector) {
        self.flows.clear();
        let mut taken = std::mem::take(&mut self.taken);
        for (key, sightings, counters) in taken.drain(..) {
            let local = match key.protocol {
                Protocol::Udp if key.local.is_unspecified() => {
                    self.namespaces.source(key.namespace, key.peer).unwrap_or(key.local)
                }
                _ => key.local,
            };
            if let Some(reason) = self.selection.skips(local, key.peer) {
                collector.skip(reason, sightings);
                continue;
            }
            let Ok(holder) = self.holder(key.process, sightings, collector) else {
                collector.skip(Skip::TableFull, sightings);
                continue;
            };
            let attribution = match holder {
                None => Attribution::Namespace,
                Some(_) if key.by_listener => Attribution::Listener,
                Some(_) => Attribution::Socket,
            };
            let ends = FlowEnds {
                namespace: key.namespace,
                local,
                peer: key.peer,
                service_port: key.service_port,
                protocol: key.protocol,
                direction: key.direction,
            };
            let collected = self
                .flows
                .entry((ends, holder, attribution))
                .or_insert(Collected { counters: FlowCounters::default(), sightings: 0 });
            collected.counters.combine(&counters);
            collected.sightings += sightings;
        }
        self.taken = taken;
    }

    fn count_flows(&mut self, collector: &mut Collector) {
        for ((ends, holder, attribution), collected) in self.flows.drain() {
            let owner = (holder, attribution);
            collector.add(&ends, owner, &collected.counters, Addition::After, collected.sightings);
        }
    }

    /// The holder by the number that the kernel programs gave it.
    fn holder(
        &mut self,
        number: Option<NonZeroU32>,
        sightings: u64,
        collector: &mut Collector,
    ) -> Result<Option<Holder>, NoRoom> {
        let Some(number) = number else { return Ok(None) };
        let Some(process) = self.processes.get(number) else {
            collector.lack(Lack::ProcessForgotten, sightings);
            return Ok(None);
        };
        collector.holder(process).map(Some).ok_or(NoRoom)
    }

    fn note_denied_executables(&mut self) {
        if self.processes.denied() {
            self.degradations.add(crate::process::denied_executables());
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct NoRoom;

/// What an epoch counted, and how many of its sightings were found in flows.
#[derive(Debug, Clone, Copy)]
struct Lost {
    counts: Counts,
    found: u64,
}

fn count_losses(Lost { counts, found }: Lost, collector: &mut Collector) {
    collector.skip(Skip::MapFull, counts.flows_full);
    collector.skip(Skip::MapBusy, counts.flows_busy);
    collector.skip(Skip::Untracked, counts.untracked);
    collector.skip(Skip::NoPeer, counts.no_peer);
    collector.skip(Skip::Unaccounted, counts.sightings.saturating_sub(found + counts.lost()));
    collector.lack(Lack::ProcessBufferFull, counts.process_buffer_full);
}
