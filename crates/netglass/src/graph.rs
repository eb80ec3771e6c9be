//! Dependencies as a graph of processes: which edges lead away from a process, and which lead to
//! it. A server and its workers are one process here, as the dependencies have it.

use std::{collections::HashMap, net::IpAddr};

use netglass_model::{Edge, HostId, NetworkNamespace, Node, Port, Timestamp};
use netglass_store::Dependencies;

use crate::query::Query;

/// A process, wherever its sockets are and whatever name it had.
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
/// by host (unknown ones last), namespace, address, port and process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeKey<'a> {
    host: Owner<'a>,
    namespace: Option<&'a NetworkNamespace>,
    address: IpAddr,
    port: Port,
    process: Option<(&'a str, u32, u32)>,
}

impl<'a> NodeKey<'a> {
    /// The key of `node`.
    pub(crate) fn of(node: &'a Node) -> Self {
        Self {
            host: owner(node.host.as_ref()),
            namespace: node.namespace.as_ref(),
            address: node.address,
            port: node.port,
            process: (node.process.as_ref())
                .map(|process| (process.comm.as_str(), process.pgid, process.pid)),
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

/// The edges that a query keeps, by the processes at their ends. Edges are named by their
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

    /// The process at a node of an edge or of a listener, if it is known.
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

/// A process of a host: the one that stands for its family.
type ProcessKey<'a> = (Owner<'a>, u32, Timestamp);

/// The processes at the nodes.
#[derive(Default)]
struct Groups<'a> {
    ids: HashMap<ProcessKey<'a>, Group>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, node: &'a Node) {
        let next = Group(self.ids.len());
        if let Some(key) = process_key(node) {
            self.ids.entry(key).or_insert(next);
        }
    }

    fn of(&self, node: &Node) -> Option<Group> {
        self.ids.get(&process_key(node)?).copied()
    }
}

fn process_key(node: &Node) -> Option<ProcessKey<'_>> {
    let process = node.process.as_ref()?;
    Some((owner(node.host.as_ref()), process.pid, process.start_time))
}
