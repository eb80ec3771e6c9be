//! Which dependencies appeared, vanished or began to fail between two windows of time.
//!
//! What makes two edges the same must outlive the restart of a server and the deployment of another
//! version: neither process ids nor executables nor containers, which change with both.
//!
//! 1. Edges with the same [`Identity`] are the same.
//! 2. An edge of which less is known is not another one than an edge between the same addresses that
//!    contradicts it in nothing: whose sockets these were is not always known.
//! 3. What is left is the same where nothing but the addresses of known processes differ, one for one:
//!    it moved, as a container does that is made anew.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use netglass_model::{Edge, Failures, HostId, Node, Port, Protocol, Timestamp};
use netglass_store::Dependencies;

use crate::query::Query;

/// What became of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was not there before.
    Appeared,
    /// It is not there any more.
    Vanished,
    /// Attempts fail, and none did before.
    Failing,
}

impl Kind {
    /// The name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Failing => "failing",
        }
    }
}

/// What was counted of an edge within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) connections: u64,
    pub(crate) failed: Failures,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
}

impl Sum {
    fn of(edge: &Edge) -> Self {
        let Edge { connections, failed, first_seen, last_seen, .. } = *edge;
        Self { connections, failed, first_seen, last_seen }
    }

    fn add(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.failed.merge(&other.failed);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }

    fn total<'a>(sums: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut sums = sums.into_iter();
        let mut total = *sums.next()?;
        sums.for_each(|sum| total.add(sum));
        Some(total)
    }
}

/// An edge that is not as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    /// What became of it.
    pub(crate) kind: Kind,
    /// The edge, with the processes that were seen last.
    pub(crate) edge: &'a Edge,
    /// What was counted in the earlier window.
    pub(crate) before: Option<Sum>,
    /// What was counted in the later one.
    pub(crate) after: Option<Sum>,
}

/// One of the two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Before,
    After,
}

/// A host that did not report in one of the windows, so that nobody can tell what became of what it
/// alone would have seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unobserved<'a> {
    /// When it did not report.
    pub(crate) side: Side,
    /// Which one.
    pub(crate) host: &'a HostId,
    /// How many edges it alone saw in the other window, which are no [`Change`] therefore.
    pub(crate) edges: u64,
}

/// What is different in the later window.
#[derive(Debug, Default)]
pub(crate) struct Comparison<'a> {
    /// By kind, and within it in the order of [`Dependencies::edges`].
    pub(crate) changes: Vec<Change<'a>>,
    /// By window and host.
    pub(crate) unobserved: Vec<Unobserved<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares the edges that `query` asks about.
    pub(crate) fn new(before: &'a Dependencies, after: &'a Dependencies, query: &Query) -> Self {
        let (before, after) = (Period::new(before), Period::new(after));
        let Matches { same, appeared, vanished } = Matches::find(&before, &after);
        let mut comparison = Self::default();
        let asked = |edge: &Edge| query.wants_edge(edge);

        let mut unobserved = BTreeMap::new();
        let mut is_change = |group: &Group<'a>, there: &Period<'a>, other: &Period<'a>, side| {
            if !asked(group.edge) {
                return false;
            }
            match there.only_observer(group.edge, other) {
                Some(host) => {
                    *unobserved.entry((side, host)).or_default() += 1;
                    false
                }
                None => true,
            }
        };
        for group in appeared {
            if is_change(group, &after, &before, Side::Before) {
                comparison.push(Kind::Appeared, group.edge, None, Some(group.sum));
            }
        }
        for group in vanished {
            if is_change(group, &before, &after, Side::After) {
                comparison.push(Kind::Vanished, group.edge, Some(group.sum), None);
            }
        }
        for (sum, group) in same {
            let fails = sum.failed.total() == 0 && group.sum.failed.total() > 0;
            if fails && asked(group.edge) {
                comparison.push(Kind::Failing, group.edge, Some(sum), Some(group.sum));
            }
        }
        comparison.unobserved = unobserved
            .into_iter()
            .map(|((side, host), edges)| Unobserved { side, host, edges })
            .collect();
        comparison
    }

    fn push(&mut self, kind: Kind, edge: &'a Edge, before: Option<Sum>, after: Option<Sum>) {
        self.changes.push(Change { kind, edge, before, after });
    }
}

/// The hosts from which a probe reported: each flush brings the host's addresses, and only a probe
/// knows a process.
pub(crate) fn reporting(dependencies: &Dependencies) -> HashSet<&HostId> {
    let with_addresses = dependencies.hosts.iter().filter(|host| !host.addresses.is_empty());
    let ends = dependencies.edges.iter().flat_map(|edge| [&edge.client, &edge.server]);
    let with_process = ends.filter(|node| node.process.is_some()).filter_map(|it| it.host.as_ref());
    with_addresses.map(|host| &host.id).chain(with_process).collect()
}

/// The name of a network namespace, none where it has none. Its inode number is another one after
/// each start of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NamespaceName<'a>(Option<&'a str>);

/// What makes a node the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End<'a> {
    host: Option<&'a HostId>,
    namespace: Option<NamespaceName<'a>>,
    /// None where it may be any.
    address: Option<IpAddr>,
    port: Port,
    comm: Option<&'a str>,
}

impl<'a> End<'a> {
    fn of(node: &'a Node) -> Self {
        Self {
            host: node.host.as_ref(),
            namespace: (node.namespace.as_ref())
                .map(|namespace| NamespaceName(namespace.name.as_deref())),
            address: Some(node.address),
            port: node.port,
            comm: node.process.as_ref().map(|process| process.comm.as_str()),
        }
    }

    /// Whether both may be the same, as far as they are known.
    fn agrees(&self, other: &Self) -> bool {
        fn agree<T: PartialEq + Copy>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        agree(self.host, other.host)
            && agree(self.namespace, other.namespace)
            && agree(self.address, other.address)
            && self.port == other.port
            && agree(self.comm, other.comm)
    }

    /// The same wherever it moves on its host, if it is known well enough.
    fn anywhere(self) -> Self {
        let is_known = self.host.is_some() && self.comm.is_some();
        Self { address: self.address.filter(|_| !is_known), ..self }
    }
}

/// What makes an edge the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity<'a> {
    protocol: Protocol,
    client: End<'a>,
    server: End<'a>,
}

impl<'a> Identity<'a> {
    fn of(edge: &'a Edge) -> Self {
        Self {
            protocol: edge.protocol,
            client: End::of(&edge.client),
            server: End::of(&edge.server),
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.client.agrees(&other.client)
            && self.server.agrees(&other.server)
    }

    fn anywhere(self) -> Self {
        Self { client: self.client.anywhere(), server: self.server.anywhere(), ..self }
    }
}

/// Between which addresses an edge is.
type Route = (Protocol, IpAddr, IpAddr, Port);

fn route(edge: &Edge) -> Route {
    (edge.protocol, edge.client.address, edge.server.address, edge.server.port)
}

/// All edges of one window that are the same.
struct Group<'a> {
    identity: Identity<'a>,
    edge: &'a Edge,
    sum: Sum,
}

/// The edges of one window.
struct Period<'a> {
    groups: Vec<Group<'a>>,
    by_identity: HashMap<Identity<'a>, usize>,
    by_route: HashMap<Route, Vec<usize>>,
    reporting: HashSet<&'a HostId>,
}

impl<'a> Period<'a> {
    fn new(dependencies: &'a Dependencies) -> Self {
        let mut period = Self {
            groups: Vec::new(),
            by_identity: HashMap::new(),
            by_route: HashMap::new(),
            reporting: reporting(dependencies),
        };
        for edge in &dependencies.edges {
            period.add(edge);
        }
        period
    }

    fn add(&mut self, edge: &'a Edge) {
        let (identity, sum) = (Identity::of(edge), Sum::of(edge));
        let next = self.groups.len();
        let index = *self.by_identity.entry(identity).or_insert(next);
        if let Some(group) = self.groups.get_mut(index) {
            group.sum.add(&sum);
            if edge.last_seen > group.edge.last_seen {
                group.edge = edge;
            }
        } else {
            self.groups.push(Group { identity, edge, sum });
            self.by_route.entry(route(edge)).or_default().push(index);
        }
    }

    fn same(&self, group: &Group<'_>) -> Option<&Group<'a>> {
        self.by_identity.get(&group.identity).map(|&index| &self.groups[index])
    }

    fn agreeing(&self, group: &Group<'_>) -> impl Iterator<Item = &Group<'a>> {
        let candidates = self.by_route.get(&route(group.edge)).map_or(&[][..], Vec::as_slice);
        let identity = group.identity;
        candidates
            .iter()
            .map(|&index| &self.groups[index])
            .filter(move |candidate| candidate.identity.agrees(&identity))
    }

    /// A host that saw this edge of this window, if none that did so reports in the `other` one.
    fn only_observer(&self, edge: &'a Edge, other: &Self) -> Option<&'a HostId> {
        let ends = [edge.client.host.as_ref(), edge.server.host.as_ref()];
        let mut observers = ends.into_iter().flatten().filter(|host| self.reporting.contains(host));
        let first = observers.clone().next()?;
        observers.all(|host| !other.reporting.contains(host)).then_some(first)
    }
}

/// Which edges of two windows are the same.
struct Matches<'p, 'a> {
    /// What was counted of it before, and what it is now.
    same: Vec<(Sum, &'p Group<'a>)>,
    appeared: Vec<&'p Group<'a>>,
    vanished: Vec<&'p Group<'a>>,
}

impl<'p, 'a> Matches<'p, 'a> {
    fn find(before: &'p Period<'a>, after: &'p Period<'a>) -> Self {
        let mut same = Vec::new();
        let mut new = Vec::new();
        for group in &after.groups {
            let known = match before.same(group) {
                Some(exactly) => Some(exactly.sum),
                None => Sum::total(before.agreeing(group).map(|agreeing| &agreeing.sum)),
            };
            match known {
                Some(sum) => same.push((sum, group)),
                None => new.push(group),
            }
        }
        let gone = |group: &&Group<'a>| {
            after.same(group).is_none() && after.agreeing(group).next().is_none()
        };
        let mut gone: Vec<Option<&Group<'a>>> =
            before.groups.iter().filter(gone).map(Some).collect();

        let mut places: HashMap<Identity<'a>, Vec<usize>> = HashMap::new();
        for (index, group) in gone.iter().enumerate().rev() {
            if let Some(group) = group {
                places.entry(group.identity.anywhere()).or_default().push(index);
            }
        }
        let mut appeared = Vec::new();
        for group in new {
            let moved = places.get_mut(&group.identity.anywhere()).and_then(Vec::pop);
            match moved.and_then(|index| gone.get_mut(index)?.take()) {
                Some(moved) => same.push((moved.sum, group)),
                None => appeared.push(group),
            }
        }
        Self { same, appeared, vanished: gone.into_iter().flatten().collect() }
    }
}

#[cfg(test)]
mod tests;
