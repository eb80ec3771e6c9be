//! One look at all sockets of this host, as often as it is asked for.

mod collector;
mod direction;
mod pass;
mod tracker;

use std::{
    collections::{BTreeSet, HashSet as StdHashSet},
    time::SystemTime,
};

use hashbrown::HashSet;
use netglass_model::{
    AddressScope, Degradation, NamespaceInode, NetworkNamespace, Protocol, Timestamp,
};

pub use self::collector::{Collector, Limits, Sightings};
use self::pass::{Orphan, Pass};
use crate::{
    Error,
    namespace::{self, Namespaces},
    owner::{OwnerReader, OwnerSource, Owners},
    process::{BootClock, ProcessCache},
};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions {
    /// All network namespaces of the host rather than that of the caller.
    pub all_namespaces: bool,
    /// Whether connections over loopback are kept.
    pub loopback: bool,
    /// Which peers are kept.
    pub scope: AddressScope,
    /// How sockets are listed.
    pub sockets: SocketSource,
    /// How their owners are found.
    pub owners: OwnerSource,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            all_namespaces: false,
            loopback: true,
            scope: AddressScope::All,
            sockets: SocketSource::Auto,
            owners: OwnerSource::Auto,
        }
    }
}

/// Looks at all sockets, as often as it is asked to.
#[derive(Debug)]
pub struct Scanner {
    options: ScanOptions,
    own: NetworkNamespace,
    reader: OwnerReader,
    owners: Owners,
    processes: ProcessCache,
    /// Inodes that the last scan found no owner for: this one need not look twice for it.
    ownerless: HashSet<u32, foldhash::fast::RandomState>,
    degradations: Degradations,
    listed_by_netlink: BTreeSet<Protocol>,
}

impl Scanner {
    /// Gets ready to scan, with room for the owners of as many sockets as `limits` say. The namespace
    /// of the calling thread counts as the host's own.
    pub fn new(options: ScanOptions, limits: Limits) -> Result<Self, Error> {
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
        std::mem::take(&mut self.degradations.news)
    }

    /// Looks at all sockets once. Sockets, processes and namespaces that vanish meanwhile are no
    /// error.
    pub fn scan(&mut self, collector: &mut Collector) -> Result<(), Error> {
        collector.begin_scan(Timestamp::from(SystemTime::now()));
        let namespaces = self.options.all_namespaces.then(Namespaces::find).transpose()?;
        self.read_owners()?;
        let own = self.own.clone();
        let mut pass = self.pass(collector);
        match &namespaces {
            None => pass.namespace(&own)?,
            Some(namespaces) => pass.namespaces(&own, namespaces)?,
        }
        let orphans = pass.into_orphans();
        self.settle(orphans, collector)?;
        collector.end_scan();
        self.note_denied_executables();
        Ok(())
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
        for orphan in orphans {
            // What no program holds for longer than a moment is the kernel's own, a tunnel's for
            // one, and is bound on purpose.
            let lasts = known.contains(&orphan.inode());
            let port_bound = (lasts && self.owners.complete).then_some(true);
            self.ownerless.insert(orphan.inode());
            orphan.count_without_process(collector, port_bound);
        }
        Ok(())
    }

    fn read_owners(&mut self) -> Result<(), Error> {
        let Self { options, own, reader, owners, degradations, .. } = self;
        let wanted = (!options.all_namespaces).then_some(own.inode);
        reader.read(wanted, owners, &mut |it| degradations.add(it))
    }

    fn pass<'a>(&'a mut self, collector: &'a mut Collector) -> Pass<'a> {
        let Self { options, owners, processes, degradations, listed_by_netlink, .. } = self;
        Pass::new(*options, owners, processes, collector, degradations, listed_by_netlink)
    }

    fn note_denied_executables(&mut self) {
        if self.processes.denied {
            self.degradations.add(Degradation {
                feature: "the executables of all processes".to_owned(),
                reason: "those of some processes may not be read".to_owned(),
                consequence: "they are known by name alone; it takes root, or CAP_SYS_PTRACE"
                    .to_owned(),
            });
        }
    }
}

/// What does not work as well as it could, each told once.
#[derive(Debug, Default)]
struct Degradations {
    told: StdHashSet<Degradation>,
    news: Vec<Degradation>,
}

impl Degradations {
    /// Reasons can name things that come and go, so there is a bound to what is remembered.
    const CAPACITY: usize = 256;

    fn add(&mut self, degradation: Degradation) {
        if self.told.len() < Self::CAPACITY && self.told.insert(degradation.clone()) {
            self.news.push(degradation);
        }
    }
}
