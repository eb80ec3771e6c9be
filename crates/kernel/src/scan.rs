//! One look at all sockets of this host, as often as it is asked for.

mod direction;
mod pass;
mod tally;
mod tracker;

use std::{collections::BTreeSet, time::SystemTime};

use hashbrown::HashSet;
use netglass_model::{Degradation, NamespaceInode, NetworkNamespace, Protocol, Timestamp};

use self::{
    pass::{Orphan, Pass},
    tally::Tally,
    tracker::Tracker,
};
use crate::{
    Error,
    collector::{Collector, Limits},
    degradations::Degradations,
    namespace::{self, Namespaces},
    owner::{OwnerReader, OwnerSource, Owners},
    process::{self, BootClock, ProcessCache},
    selection::Selection,
};

/// How often the sockets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sightings {
    /// Once: what a connection ever did counts.
    One,
    /// Again and again: what a connection does between two scans counts, and what it did before
    /// the first one does not.
    Repeated,
}

/// How sockets are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SocketSource {
    /// The best way that works.
    #[default]
    Auto,
    /// `sock_diag` over netlink alone.
    Netlink,
    /// `/proc/net` alone.
    Procfs,
}

/// Which sockets a scan looks at, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Which sockets.
    pub selection: Selection,
    /// How sockets are listed.
    pub sockets: SocketSource,
    /// How their owners are found.
    pub owners: OwnerSource,
}

/// Looks at all sockets, as often as it is asked to.
#[derive(Debug)]
pub struct Scanner {
    options: ScanOptions,
    own: NetworkNamespace,
    reader: OwnerReader,
    owners: Owners,
    processes: ProcessCache,
    tracker: Option<Tracker>,
    /// Inodes that the last scan found no owner for: this one need not look twice for it.
    ownerless: HashSet<u32, foldhash::fast::RandomState>,
    degradations: Degradations,
    listed_by_netlink: BTreeSet<Protocol>,
}

impl Scanner {
    /// Gets ready to scan, with room for the owners of as many sockets as `limits` say. The namespace
    /// of the calling thread counts as the host's own.
    pub fn new(options: ScanOptions, sightings: Sightings, limits: Limits) -> Result<Self, Error> {
        let clock = BootClock::read()?;
        let mut degradations = Degradations::default();
        let own = Namespaces::identity(namespace::own()?);
        let reader = OwnerReader::new(options.owners, clock, &mut |it| degradations.add(it))?;
        Ok(Self {
            options,
            own,
            reader,
            owners: Owners::new(limits.sockets),
            processes: ProcessCache::new(clock),
            tracker: match sightings {
                Sightings::One => None,
                Sightings::Repeated => Some(Tracker::new(limits.sockets)),
            },
            ownerless: HashSet::default(),
            degradations,
            listed_by_netlink: BTreeSet::new(),
        })
    }

    /// The namespace that counts as the host's own.
    #[must_use]
    pub fn own_namespace(&self) -> NamespaceInode {
        self.own.inode
    }

    /// Whether the calling thread may use what was made ready in [`new`](Self::new): what
    /// [`drop_to`](crate::drop_to) asks.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.reader.is_usable()
    }

    /// What does not work as well as it could and was not told of before.
    pub fn take_degradations(&mut self) -> Vec<Degradation> {
        self.degradations.take()
    }

    /// Looks at all sockets once. Sockets, processes and namespaces that vanish meanwhile are no
    /// error.
    pub fn scan(&mut self, collector: &mut Collector) -> Result<(), Error> {
        collector.begin(Timestamp::from(SystemTime::now()));
        if let Some(tracker) = &mut self.tracker {
            tracker.begin_scan();
        }
        let namespaces =
            self.options.selection.all_namespaces.then(Namespaces::find).transpose()?;
        self.read_owners()?;
        let own = self.own.clone();
        let mut pass = self.pass(collector);
        match &namespaces {
            None => pass.namespace(&own)?,
            Some(namespaces) => pass.namespaces(&own, namespaces)?,
        }
        let orphans = pass.into_orphans();
        self.settle(orphans, collector)?;
        if let Some(tracker) = &mut self.tracker {
            tracker.end_scan();
        }
        self.note_denied_executables();
        Ok(())
    }

    /// What was collected so far was flushed: a connection that lasts counts once more.
    pub fn flushed(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.begin_interval();
        }
    }

    /// Counts the sockets whose owner was not found, after one more look for those that are new: a
    /// socket that is younger than the look at the owners has one by now.
    fn settle(&mut self, orphans: Vec<Orphan>, collector: &mut Collector) -> Result<(), Error> {
        let known = std::mem::take(&mut self.ownerless);
        let (mut orphans, new): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|orphan| known.contains(&orphan.inode()));
        if !new.is_empty() {
            self.read_owners()?;
            let mut pass = self.pass(collector);
            for orphan in &new {
                pass.adopt(orphan);
            }
            orphans.extend(pass.into_orphans());
        }
        let Self { owners, ownerless, tracker, .. } = self;
        let mut tally = Tally { collector, tracker: tracker.as_mut() };
        for orphan in orphans {
            // What no program holds for longer than a moment is the kernel's own, a tunnel's for
            // one, and is bound on purpose.
            let lasts = known.contains(&orphan.inode());
            let port_bound = (lasts && owners.complete).then_some(true);
            ownerless.insert(orphan.inode());
            orphan.count_without_process(&mut tally, port_bound);
        }
        Ok(())
    }

    fn read_owners(&mut self) -> Result<(), Error> {
        let Self { options, own, reader, owners, degradations, .. } = self;
        let wanted = (!options.selection.all_namespaces).then_some(own.inode);
        reader.read(wanted, owners, &mut |it| degradations.add(it))
    }

    fn pass<'a>(&'a mut self, collector: &'a mut Collector) -> Pass<'a> {
        let Self { options, owners, processes, tracker, degradations, listed_by_netlink, .. } =
            self;
        let tally = Tally { collector, tracker: tracker.as_mut() };
        Pass::new(*options, owners, processes, tally, degradations, listed_by_netlink)
    }

    fn note_denied_executables(&mut self) {
        if self.processes.denied {
            self.degradations.add(process::denied_executables());
        }
    }
}
