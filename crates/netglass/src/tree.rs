//! The answer to a query: the nodes that are asked about, and the dependencies that lead from
//! each of them, in both directions, to a depth.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netglass_model::{Edge, Node, Port, Protocol, RttSamples, Timestamp};
use netglass_store::Dependencies;

use crate::{
    graph::{Graph, Group, NodeKey, Way},
    query::{Query, accepts},
};

/// How a tree is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many edges are followed from each root, at least one.
    pub(crate) depth: u32,
    /// Whether listeners to which nobody talked are roots too.
    pub(crate) listening: bool,
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    /// What it is an answer from.
    pub(crate) dependencies: &'a Dependencies,
    /// The nodes that were asked about, in a stable order.
    pub(crate) roots: Vec<Root<'a>>,
}

/// A node that was asked about.
#[derive(Debug)]
pub(crate) struct Root<'a> {
    /// The service, or the process that is a client only.
    pub(crate) node: &'a Node,
    /// The service's protocol; none for a client.
    pub(crate) protocol: Option<Protocol>,
    /// Whether it is a listener to which nobody talked.
    pub(crate) idle: bool,
    /// Who depends on it, then on whom its process depends from this address; in a stable order.
    pub(crate) branches: Vec<Branch<'a>>,
}

/// A node that was reached, with all dependencies that led to it from the node before.
#[derive(Debug)]
pub(crate) struct Branch<'a> {
    /// How it was reached.
    pub(crate) way: Way,
    /// The node.
    pub(crate) node: &'a Node,
    /// The dependencies' protocol.
    pub(crate) protocol: Protocol,
    /// The dependencies, by their index in [`Dependencies::edges`].
    pub(crate) edges: Vec<usize>,
    /// Their sum.
    pub(crate) totals: Totals,
    /// Why it was not followed although it could be.
    pub(crate) mark: Option<Mark>,
    /// Where it leads.
    pub(crate) branches: Vec<Branch<'a>>,
}

/// Why a node's own dependencies are not shown under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is one of the nodes on the way from the root to itself.
    Cycle,
    /// They are shown under the same process further up, below the same root. Without this the
    /// number of ways through a dense graph would grow exponentially with the depth.
    ShownAbove,
}

/// The sum of several dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) failed: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) rtt: RttSamples,
    pub(crate) last_seen: Timestamp,
}

impl Totals {
    fn of(edge: &Edge) -> Self {
        Self {
            connections: edge.connections,
            failed: edge.failed.total(),
            bytes_sent: edge.bytes_sent,
            bytes_received: edge.bytes_received,
            rtt: edge.rtt,
            last_seen: edge.last_seen,
        }
    }

    fn add(&mut self, edge: &Edge) {
        self.connections = self.connections.saturating_add(edge.connections);
        self.failed = self.failed.saturating_add(edge.failed.total());
        self.bytes_sent = self.bytes_sent.saturating_add(edge.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(edge.bytes_received);
        self.rtt.merge(edge.rtt);
        self.last_seen = self.last_seen.max(edge.last_seen);
    }

    /// Whether bytes were counted at all: UDP and sockets read from procfs have no counts.
    pub(crate) fn has_bytes(&self) -> bool {
        self.bytes_sent > 0 || self.bytes_received > 0 || self.rtt.count > 0
    }
}

impl<'a> Tree<'a> {
    /// Answers `query` from `dependencies`.
    pub(crate) fn build(dependencies: &'a Dependencies, query: &Query, extent: Extent) -> Self {
        let builder = Builder { graph: Graph::new(dependencies, query) };
        let mut roots = builder.roots(query, extent.depth);
        if extent.listening {
            let services = Services::of(&builder.graph);
            for listener in &dependencies.listeners {
                if query.wants_listener(listener, dependencies) && !services.is_used(listener) {
                    let (protocol, node) = listener;
                    roots.entry((NodeKey::of(node), Some(*protocol))).or_insert_with(|| Root {
                        node,
                        protocol: Some(*protocol),
                        idle: true,
                        branches: Vec::new(),
                    });
                }
            }
        }
        Self { dependencies, roots: roots.into_values().collect() }
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Each dependency of the answer once, in the order of [`Dependencies::edges`].
    pub(crate) fn edges(&self) -> Vec<&'a Edge> {
        fn collect(branches: &[Branch<'_>], indices: &mut BTreeSet<usize>) {
            for branch in branches {
                indices.extend(&branch.edges);
                collect(&branch.branches, indices);
            }
        }
        let mut indices = BTreeSet::new();
        for root in &self.roots {
            collect(&root.branches, &mut indices);
        }
        indices.into_iter().map(|index| &self.dependencies.edges[index]).collect()
    }

    /// The listeners of the answer to which nobody talked.
    pub(crate) fn idle_listeners(&self) -> impl Iterator<Item = (Protocol, &'a Node)> {
        self.roots
            .iter()
            .filter(|root| root.idle)
            .filter_map(|root| Some((root.protocol?, root.node)))
    }
}

type RootKey<'a> = (NodeKey<'a>, Option<Protocol>);

/// What was found at one root before anything is followed from it.
struct Start<'a> {
    node: &'a Node,
    clients: Vec<usize>,
    servers: Vec<usize>,
}

struct Builder<'a> {
    graph: Graph<'a>,
}

impl<'a> Builder<'a> {
    fn roots(&self, query: &Query, depth: u32) -> BTreeMap<RootKey<'a>, Root<'a>> {
        self.starts(query)
            .into_iter()
            .map(|(key, start)| {
                let mut branches = Vec::new();
                for (way, edges) in
                    [(Way::ToClients, &start.clients), (Way::ToServers, &start.servers)]
                {
                    let mut walk = Walk {
                        graph: &self.graph,
                        way,
                        path: self.graph.group(start.node).into_iter().collect(),
                        followed: HashMap::new(),
                    };
                    branches.extend(walk.branches(edges, depth));
                }
                let root = Root { node: start.node, protocol: key.1, idle: false, branches };
                (key, root)
            })
            .collect()
    }

    /// The roots, with the edges at each: a root for each service endpoint; what a process
    /// depends on goes under the first of its services at the same address, or under a root of
    /// its own if it has none there.
    fn starts(&self, query: &Query) -> BTreeMap<RootKey<'a>, Start<'a>> {
        let mut starts: BTreeMap<RootKey<'a>, Start<'a>> = BTreeMap::new();
        for (index, edge) in self.graph.edges() {
            if query.wants_server(&edge.server) {
                let key = (NodeKey::of(&edge.server), Some(edge.protocol));
                starts.entry(key).or_insert_with(|| Start::at(&edge.server)).clients.push(index);
            }
        }
        let mut first_service: HashMap<NodeKey<'a>, RootKey<'a>> = HashMap::new();
        for key in starts.keys().filter(|(node, _)| node.has_process()) {
            first_service.entry(key.0.clone().at_any_port()).or_insert_with(|| key.clone());
        }
        for (index, edge) in self.graph.edges() {
            if query.wants_client(&edge.client) {
                let client = NodeKey::of(&edge.client);
                let key = match first_service.get(&client.clone().at_any_port()) {
                    Some(service) => service.clone(),
                    None => (client, None),
                };
                starts.entry(key).or_insert_with(|| Start::at(&edge.client)).servers.push(index);
            }
        }
        starts
    }
}

/// Every service that is depended on, by protocol and port.
struct Services<'g, 'a> {
    graph: &'g Graph<'a>,
    by_port: HashMap<(Protocol, Port), Vec<&'a Node>>,
}

impl<'g, 'a> Services<'g, 'a> {
    fn of(graph: &'g Graph<'a>) -> Self {
        let mut by_port: HashMap<_, Vec<&Node>> = HashMap::new();
        for (_, edge) in graph.edges() {
            by_port.entry((edge.protocol, edge.server.port)).or_default().push(&edge.server);
        }
        Self { graph, by_port }
    }

    /// Whether anybody talked to a listener, as far as is known.
    fn is_used(&self, (protocol, listener): &(Protocol, Node)) -> bool {
        let group = self.graph.group(listener);
        let namespace = |node: &Node| node.namespace.as_ref().map(|it| it.inode);
        self.by_port.get(&(*protocol, listener.port)).into_iter().flatten().any(|server| {
            server.host == listener.host
                && namespace(server) == namespace(listener)
                && accepts(listener.address, server.address)
                && (group.is_none()
                    || server.process.is_none()
                    || self.graph.group(server) == group)
        })
    }
}

impl<'a> Start<'a> {
    fn at(node: &'a Node) -> Self {
        Self { node, clients: Vec::new(), servers: Vec::new() }
    }
}

/// The walk from one root in one direction.
struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    way: Way,
    /// The processes from the root to where the walk is.
    path: Vec<Group>,
    /// Which processes were followed, and how deep.
    followed: HashMap<Group, u32>,
}

impl<'a> Walk<'_, 'a> {
    /// The nodes to which `edges` lead, followed until `depth` is used up.
    fn branches(&mut self, edges: &[usize], depth: u32) -> Vec<Branch<'a>> {
        let mut branches: BTreeMap<(NodeKey<'a>, Protocol), Branch<'a>> = BTreeMap::new();
        for &index in edges {
            let edge = self.graph.edge(index);
            let node = self.way.far(edge);
            branches
                .entry((NodeKey::of(node), edge.protocol))
                .and_modify(|branch| branch.add(index, edge))
                .or_insert_with(|| Branch::new(self.way, node, index, edge));
        }
        let mut branches: Vec<Branch<'a>> = branches.into_values().collect();
        for branch in &mut branches {
            self.follow(branch, depth - 1);
        }
        branches
    }

    fn follow(&mut self, branch: &mut Branch<'a>, depth: u32) {
        // Where the process is not known, nothing says that what else happens at the address
        // has to do with it.
        let Some(group) = self.graph.group(branch.node) else { return };
        if self.path.contains(&group) {
            branch.mark = Some(Mark::Cycle);
            return;
        }
        let edges = self.graph.follow(group, self.way);
        if depth == 0 || edges.is_empty() {
            return;
        }
        if self.followed.get(&group).is_some_and(|&followed| followed >= depth) {
            branch.mark = Some(Mark::ShownAbove);
            return;
        }
        self.followed.insert(group, depth);
        let edges = edges.to_vec();
        self.path.push(group);
        branch.branches = self.branches(&edges, depth);
        self.path.pop();
    }
}

impl<'a> Branch<'a> {
    fn new(way: Way, node: &'a Node, index: usize, edge: &Edge) -> Self {
        Self {
            way,
            node,
            protocol: edge.protocol,
            edges: vec![index],
            totals: Totals::of(edge),
            mark: None,
            branches: Vec::new(),
        }
    }

    fn add(&mut self, index: usize, edge: &Edge) {
        self.edges.push(index);
        self.totals.add(edge);
    }
}
