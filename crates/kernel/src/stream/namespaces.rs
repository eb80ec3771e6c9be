//! The network namespaces that flows name: their names, addresses and routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use netglass_model::{Degradation, NamespaceInode, NetworkNamespace};

use crate::{
    Error, address,
    collector::Collector,
    degradations::Degradations,
    namespace::{Namespace, Namespaces},
    route::Routes,
};

/// How long addresses and routes are taken to be what they were.
const FRESH: Duration = Duration::from_secs(10);
/// How many source addresses are remembered; then all are asked for anew.
const MAXIMUM_SOURCES: usize = 65_536;

/// A namespace as it was when it was last looked at.
#[derive(Debug)]
struct Known {
    identity: NetworkNamespace,
    addresses: Vec<IpAddr>,
    /// None for our own one, and for one that could not be found.
    entry: Option<Namespace>,
}

/// The network namespaces that flows name.
#[derive(Debug)]
pub(super) struct NamespaceDirectory {
    own: NetworkNamespace,
    all: bool,
    known: BTreeMap<NamespaceInode, Known>,
    looked_at: Option<Instant>,
    sources: HashMap<(NamespaceInode, IpAddr), Option<IpAddr>, foldhash::quality::RandomState>,
}

impl NamespaceDirectory {
    pub(super) fn new(own: NetworkNamespace, all: bool) -> Self {
        Self { own, all, known: BTreeMap::new(), looked_at: None, sources: HashMap::default() }
    }

    /// Looks at the namespaces if that was long ago, or if one of `named` is new.
    pub(super) fn refresh(
        &mut self,
        named: &BTreeSet<NamespaceInode>,
        degradations: &mut Degradations,
    ) -> Result<(), Error> {
        let is_fresh = self.looked_at.is_some_and(|at| at.elapsed() < FRESH);
        if is_fresh && named.iter().all(|inode| self.known.contains_key(inode)) {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        self.sources.clear();
        self.known.clear();
        let own = Known {
            identity: self.own.clone(),
            addresses: list_addresses(degradations),
            entry: None,
        };
        self.known.insert(self.own.inode, own);
        if self.all {
            let found = Namespaces::find()?;
            if found.denied > 0 {
                degradations.add(Degradation {
                    feature: "all network namespaces".to_owned(),
                    reason: "those of some processes may not be read".to_owned(),
                    consequence: "they have no names and addresses; it takes root, or \
                                  CAP_SYS_PTRACE"
                        .to_owned(),
                });
            }
            let own = self.own.inode;
            for namespace in found.iter().filter(|it| it.identity.inode != own) {
                self.look_at(namespace, degradations);
            }
        }
        for &inode in named {
            // One that ended, or of which only a socket is left.
            self.known.entry(inode).or_insert_with(|| Known {
                identity: NetworkNamespace { inode, name: None },
                addresses: Vec::new(),
                entry: None,
            });
        }
        Ok(())
    }

    fn look_at(&mut self, namespace: &Namespace, degradations: &mut Degradations) {
        let addresses = match namespace.run(|| list_addresses(degradations)) {
            Ok(addresses) => addresses.unwrap_or_default(),
            Err(error) => {
                degradations.add(Degradation {
                    feature: "the addresses of all network namespaces".to_owned(),
                    reason: error.to_string(),
                    consequence: "connections to it are not joined with it; it takes root, or \
                                  CAP_SYS_ADMIN"
                        .to_owned(),
                });
                Vec::new()
            }
        };
        let identity = namespace.identity.clone();
        let known = Known { identity, addresses, entry: Some(namespace.clone()) };
        self.known.insert(namespace.identity.inode, known);
    }

    /// Tells the collector of all of them.
    pub(super) fn announce(&self, collector: &mut Collector) {
        for known in self.known.values() {
            collector.namespace(&known.identity, known.addresses.clone());
        }
    }

    /// Asks from which address each namespace talks to each peer, where that is not known.
    pub(super) fn find_sources(&mut self, wanted: &BTreeSet<(NamespaceInode, IpAddr)>) {
        if self.sources.len() + wanted.len() > MAXIMUM_SOURCES {
            self.sources.clear();
        }
        let mut asked: BTreeMap<NamespaceInode, Vec<IpAddr>> = BTreeMap::new();
        for &(namespace, peer) in wanted.iter().take(MAXIMUM_SOURCES) {
            if !self.sources.contains_key(&(namespace, peer)) {
                asked.entry(namespace).or_default().push(peer);
            }
        }
        for (namespace, peers) in asked {
            let sources = match self.known.get(&namespace) {
                _ if namespace == self.own.inode => sources_of(&peers),
                Some(Known { entry: Some(entry), .. }) => {
                    entry.run(|| sources_of(&peers)).ok().flatten().unwrap_or_default()
                }
                _ => Vec::new(),
            };
            for (index, peer) in peers.into_iter().enumerate() {
                self.sources.insert((namespace, peer), sources.get(index).copied().flatten());
            }
        }
    }

    /// From which address a namespace talks to a peer, as [`find_sources`](Self::find_sources) found
    /// out.
    pub(super) fn source(&self, namespace: NamespaceInode, peer: IpAddr) -> Option<IpAddr> {
        self.sources.get(&(namespace, peer)).copied().flatten()
    }
}

/// The source addresses towards `peers` in the calling thread's namespace.
fn sources_of(peers: &[IpAddr]) -> Vec<Option<IpAddr>> {
    match Routes::open() {
        Ok(mut routes) => peers.iter().map(|&peer| routes.source_address(peer)).collect(),
        Err(_) => Vec::new(),
    }
}

fn list_addresses(degradations: &mut Degradations) -> Vec<IpAddr> {
    address::list().unwrap_or_else(|error| {
        degradations.add(Degradation {
            feature: "the host's addresses".to_owned(),
            reason: error.to_string(),
            consequence: "other hosts' connections to this one are not joined with it".to_owned(),
        });
        Vec::new()
    })
}
