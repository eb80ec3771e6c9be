//! The network namespaces of the host, and the interfaces in them at which packets are seen.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libbpf_rs::Link as Attached;
use netglass_model::{NamespaceInode, NetworkNamespace};

use super::{DatapathOptions, programs::Programs};
use crate::{
    Error,
    capture::{
        link::{Link, Links},
        pattern::Pattern,
    },
    namespace::{self, Namespace, Namespaces},
};

/// Stands for all interfaces.
pub(super) const ANY: &str = "any";
/// How often is looked for namespaces that are new.
const OFTEN: Duration = Duration::from_secs(1);
/// In how many namespaces interfaces are known.
const MOST_PLACES: usize = 4096;
/// How much news is kept that nobody takes.
const MOST_NEWS: usize = 256;

/// A network namespace.
struct Place {
    namespace: Namespace,
    links: Links,
    names: HashMap<u32, String>,
    /// Those at which packets are seen, by their number; they are detached when they are dropped.
    open: BTreeMap<u32, Vec<Attached>>,
    /// Those that could not be used, and why.
    failing: BTreeMap<u32, String>,
}

/// The network namespaces, and the interfaces in them.
pub(super) struct Interfaces {
    patterns: Vec<Pattern>,
    /// Those that were asked for, by their names or inodes; all if there are none.
    wanted: Vec<String>,
    own: NamespaceInode,
    places: BTreeMap<NamespaceInode, Place>,
    next: Instant,
    news: Vec<String>,
}

impl std::fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interfaces").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Interfaces {
    /// Finds the namespaces that there are. Those that are named have to exist.
    pub(super) fn find(options: &DatapathOptions) -> Result<Self, Error> {
        let pattern = |text: &String| Pattern::new(if text == ANY { "*" } else { text });
        let mut interfaces = Self {
            patterns: options.interfaces.iter().map(pattern).collect(),
            wanted: options.namespaces.clone(),
            own: namespace::own()?,
            places: BTreeMap::new(),
            next: Instant::now(),
            news: Vec::new(),
        };
        interfaces.find_places()?;
        for name in &options.namespaces {
            if !interfaces.places.values().any(|place| is_named(&place.namespace.identity, name)) {
                return Err(Error::NoNamespace { name: name.clone() });
            }
        }
        Ok(interfaces)
    }

    /// Those that were asked for.
    pub(super) fn selected_namespaces(&self) -> Vec<NamespaceInode> {
        if self.wanted.is_empty() { Vec::new() } else { self.places.keys().copied().collect() }
    }

    /// Attaches the programs to the interfaces that there are. One that is named has to exist.
    pub(super) fn begin(&mut self, programs: &Programs) -> Result<(), Error> {
        for pattern in &self.patterns {
            let Pattern::Name(name) = pattern else { continue };
            let mut names = self.places.values().flat_map(|place| place.names.values());
            if !names.any(|existing| existing == name) {
                let own = self.places.get(&self.own).or_else(|| self.places.values().next());
                let mut existing: Vec<_> =
                    own.iter().flat_map(|place| place.names.values()).cloned().collect();
                existing.sort();
                let existing = format!("{} and {ANY} for all of them", existing.join(", "));
                return Err(Error::NoInterface { name: name.clone(), existing });
            }
        }
        let Self { places, patterns, news, .. } = self;
        for (inode, place) in places {
            place.attach(*inode, patterns, programs, news)?;
            // With one interface alone that cannot be used, there would be nothing to wait for.
            if let ([Pattern::Name(_)], Some(reason)) =
                (patterns.as_slice(), place.failing.values().next())
            {
                let interface = None;
                return Err(Error::Capture { interface, reason: reason.clone() });
            }
        }
        Ok(())
    }

    /// Keeps to the namespaces and interfaces that there are.
    pub(super) fn keep_up(&mut self, programs: &Programs) -> Result<(), Error> {
        let now = Instant::now();
        let mut known: Vec<NamespaceInode> = self.places.keys().copied().collect();
        if self.next <= now {
            self.next = now + OFTEN;
            self.find_places()?;
        }
        known.retain(|inode| self.places.contains_key(inode));
        let Self { places, patterns, news, .. } = self;
        for (inode, place) in places {
            let is_new = !known.contains(inode);
            if is_new || place.links.have_changed()? {
                place.list()?;
                place.attach(*inode, patterns, programs, news)?;
            }
        }
        Ok(())
    }

    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn name(&self, namespace: NamespaceInode, index: u32) -> Option<&str> {
        self.places.get(&namespace)?.names.get(&index).map(String::as_str)
    }

    pub(super) fn namespace_name(&self, namespace: NamespaceInode) -> Option<&str> {
        self.places.get(&namespace)?.namespace.identity.name.as_deref()
    }

    pub(super) fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// No packet is seen from now on; names stay known.
    pub(super) fn close(&mut self) {
        self.patterns.clear();
        self.places.values_mut().for_each(|place| place.open.clear());
    }

    /// Finds the namespaces that there are.
    fn find_places(&mut self) -> Result<(), Error> {
        let found = Namespaces::find()?;
        let is_wanted = |identity: &NetworkNamespace| {
            self.wanted.is_empty() || self.wanted.iter().any(|name| is_named(identity, name))
        };
        let wanted: Vec<&Namespace> =
            found.iter().filter(|namespace| is_wanted(&namespace.identity)).collect();
        // What was told of one that is gone may still be to be named: it is forgotten for another one.
        if self.places.len() + wanted.len() > MOST_PLACES {
            let is_there = |inode| wanted.iter().any(|namespace| namespace.identity.inode == inode);
            self.places.retain(|inode, _| is_there(*inode));
        }
        for namespace in wanted {
            let inode = namespace.identity.inode;
            if let Some(place) = self.places.get_mut(&inode) {
                place.namespace = namespace.clone();
            } else if self.places.len() < MOST_PLACES {
                match namespace.run(Links::open) {
                    Ok(Some(Ok(links))) => {
                        let mut place = Place {
                            namespace: namespace.clone(),
                            links,
                            names: HashMap::new(),
                            open: BTreeMap::new(),
                            failing: BTreeMap::new(),
                        };
                        place.list()?;
                        self.places.insert(inode, place);
                    }
                    Ok(Some(Err(error))) | Err(error) if self.news.len() < MOST_NEWS => {
                        self.news.push(format!("{}: {error}", namespace.identity));
                    }
                    // It is gone, or there is more news than anybody takes.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl Place {
    /// Reads the interfaces that there are.
    fn list(&mut self) -> Result<Vec<Link>, Error> {
        let links = self.links.list()?;
        // One that is gone keeps its name, for what was told of it before; its number is not given again
        // soon.
        self.names.extend(links.iter().map(|link| (link.index, link.name.clone())));
        Ok(links)
    }

    /// Attaches the programs to those interfaces that are wanted and new, and lets go of those that are
    /// gone.
    fn attach(
        &mut self,
        inode: NamespaceInode,
        patterns: &[Pattern],
        programs: &Programs,
        news: &mut Vec<String>,
    ) -> Result<(), Error> {
        if patterns.is_empty() {
            return Ok(());
        }
        let links = self.list()?;
        let gone: Vec<u32> = self
            .open
            .keys()
            .copied()
            .filter(|index| !links.iter().any(|link| link.index == *index))
            .collect();
        for index in gone {
            self.open.remove(&index);
            programs.select(inode, index, false)?;
        }
        let is_wanted = |link: &&Link| patterns.iter().any(|pattern| pattern.matches(&link.name));
        for link in links.iter().filter(is_wanted) {
            if self.open.contains_key(&link.index) {
                continue;
            }
            let attached = match self.namespace.run(|| programs.attach(link)) {
                Ok(Some(Ok(attached))) => attached,
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) | Err(error) => {
                    let reason = error.to_string();
                    let told = self.failing.insert(link.index, reason.clone());
                    if told.as_ref() != Some(&reason) && news.len() < MOST_NEWS {
                        news.push(format!("{}: {reason}", self.namespace.identity));
                    }
                    continue;
                }
            };
            programs.select(inode, link.index, true)?;
            self.failing.remove(&link.index);
            self.open.insert(link.index, attached);
        }
        Ok(())
    }
}

/// Whether a namespace goes by a name or an inode.
fn is_named(identity: &NetworkNamespace, name: &str) -> bool {
    identity.name.as_deref() == Some(name) || identity.inode.0.to_string() == name
}
