//! Dependencies as a graph of process groups: which edges lead away from a process group, and
//! which lead to it.

use std::{collections::HashMap, net::IpAddr};

use netglass_model::{Edge, HostId, NamespaceInode, Node, Port, Timestamp};
use netglass_store::Dependencies;

use crate::query::Query;

/// A process group, or several that share a process: one that has sockets in two network
/// namespaces, or that changed its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Group(usize);

/// Which way an edge is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// From a server to those who depend on it.
    ToClients,
    /// From a client to those on whom it depends.
    ToServers,
}

impl Way {
    /// The end of `edge` at which one arrives.
    pub(crate) fn far(self, edge: &Edge) -> &Node {
        match self {
            Self::ToClients => &edge.client,
            Self::ToServers => &edge.server,
        }
    }
}

/// What makes two nodes the same in the eyes of a reader, in the order in which nodes are shown:
/// by host (unknown ones last), namespace, address, port and process group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeKey<'a> {
    host: Owner<'a>,
    namespace: Option<NamespaceInode>,
    address: IpAddr,
    port: Port,
    process: Option<(&'a str, u32)>,
}

impl<'a> NodeKey<'a> {
    /// The key of `node`.
    pub(crate) fn of(node: &'a Node) -> Self {
        Self {
            host: owner(node.host.as_ref()),
            namespace: node.namespace.as_ref().map(|namespace| namespace.inode),
            address: node.address,
            port: node.port,
            process: node.process.as_ref().map(|process| (process.comm.as_str(), process.pgid)),
        }
    }

    /// The key of whatever this node's process has at this node's address.
    pub(crate) fn at_any_port(mut self) -> Self {
        self.port = Port::Many;
        self
    }

    /// Whether the process is known.
    pub(crate) fn has_process(&self) -> bool {
        self.process.is_some()
    }
}

/// A host in the order in which hosts are shown: whether it is unknown, name, machine-id.
type Owner<'a> = (bool, &'a str, &'a str);

fn owner(host: Option<&HostId>) -> Owner<'_> {
    host.map_or((true, "", ""), |id| (false, &id.hostname, &id.machine_id))
}

/// The edges that a query keeps, by the process groups at their ends. Edges are named by their
/// index in [`Dependencies::edges`].
pub(crate) struct Graph<'a> {
    dependencies: &'a Dependencies,
    kept: Vec<usize>,
    groups: Groups<'a>,
    clients: HashMap<Group, Vec<usize>>,
    servers: HashMap<Group, Vec<usize>>,
}

impl<'a> Graph<'a> {
    /// The graph of the edges that `query` keeps.
    pub(crate) fn new(dependencies: &'a Dependencies, query: &Query) -> Self {
        let kept: Vec<usize> = dependencies
            .edges
            .iter()
            .enumerate()
            .filter_map(|(index, edge)| query.keeps(edge).then_some(index))
            .collect();
        let mut groups = Groups::default();
        for edge in &dependencies.edges {
            groups.add(&edge.client);
            groups.add(&edge.server);
        }
        for (_, node) in &dependencies.listeners {
            groups.add(node);
        }
        let (mut clients, mut servers) = (HashMap::new(), HashMap::new());
        for &index in &kept {
            let edge = &dependencies.edges[index];
            if let Some(group) = groups.of(&edge.server) {
                clients.entry(group).or_insert_with(Vec::new).push(index);
            }
            if let Some(group) = groups.of(&edge.client) {
                servers.entry(group).or_insert_with(Vec::new).push(index);
            }
        }
        Self { dependencies, kept, groups, clients, servers }
    }

    /// Every edge that is kept, with its index.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, &'a Edge)> {
        self.kept.iter().map(|&index| (index, &self.dependencies.edges[index]))
    }

    /// One edge by its index.
    pub(crate) fn edge(&self, index: usize) -> &'a Edge {
        &self.dependencies.edges[index]
    }

    /// The process group at a node of an edge or of a listener, if it is known.
    pub(crate) fn group(&self, node: &Node) -> Option<Group> {
        self.groups.of(node)
    }

    /// The edges that lead from `group` that way.
    pub(crate) fn follow(&self, group: Group, way: Way) -> &[usize] {
        let edges = match way {
            Way::ToClients => &self.clients,
            Way::ToServers => &self.servers,
        };
        edges.get(&group).map_or(&[], Vec::as_slice)
    }
}

/// A process group within a namespace, and a process within a host.
type GroupKey<'a> = (Owner<'a>, Option<NamespaceInode>, u32, &'a str);
type ProcessKey<'a> = (Owner<'a>, u32, Timestamp);

/// Process groups, those that share a process made one (union-find).
#[derive(Default)]
struct Groups<'a> {
    ids: HashMap<GroupKey<'a>, usize>,
    by_process: HashMap<ProcessKey<'a>, usize>,
    parents: Vec<usize>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, node: &'a Node) {
        let Some(process) = &node.process else { return };
        let next = self.parents.len();
        let id = *self.ids.entry(group_key(node, process.pgid, &process.comm)).or_insert(next);
        if id == next {
            self.parents.push(id);
        }
        let key = (owner(node.host.as_ref()), process.pid, process.start_time);
        let other = *self.by_process.entry(key).or_insert(id);
        let (one, other) = (self.root(id), self.root(other));
        self.parents[one.max(other)] = one.min(other);
    }

    fn of(&self, node: &Node) -> Option<Group> {
        let process = node.process.as_ref()?;
        let id = self.ids.get(&group_key(node, process.pgid, &process.comm))?;
        Some(Group(self.root(*id)))
    }

    fn root(&self, mut id: usize) -> usize {
        while self.parents[id] != id {
            id = self.parents[id];
        }
        id
    }
}

fn group_key<'a>(node: &'a Node, pgid: u32, comm: &'a str) -> GroupKey<'a> {
    let namespace = node.namespace.as_ref().map(|namespace| namespace.inode);
    (owner(node.host.as_ref()), namespace, pgid, comm)
}
