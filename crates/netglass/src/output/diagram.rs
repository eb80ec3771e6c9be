//! An answer as a diagram of boxes and arrows, which the languages for diagrams share.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netglass_model::{HostId, NetworkNamespace, Node, Protocol, printable};

use super::tree::host_name;
use crate::tree::Tree;

/// Boxes and arrows.
pub(crate) struct Diagram {
    /// The boxes, by host where there are several hosts; those without a host, or all where there
    /// is one host only, have none.
    pub(crate) clusters: Vec<(Option<String>, Vec<Box>)>,
    /// The arrows, from client to server.
    pub(crate) arrows: Vec<Arrow>,
}

/// A process, or an address whose process is not known.
pub(crate) struct Box {
    /// Its number in the diagram.
    pub(crate) id: usize,
    /// What is written in it, printable, a line each.
    pub(crate) label: Vec<String>,
    /// Whether it was asked about.
    pub(crate) is_root: bool,
}

/// All dependencies between two boxes for one service.
pub(crate) struct Arrow {
    /// The client's box.
    pub(crate) from: usize,
    /// The server's box.
    pub(crate) to: usize,
    /// What is written at it, printable, on one line.
    pub(crate) label: String,
}

/// What makes two nodes one box: where it is, then the process or else the endpoint.
type BoxKey<'a> = (Option<&'a HostId>, Option<&'a NetworkNamespace>, Identity<'a>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Identity<'a> {
    Process(&'a str, u32, u32),
    Endpoint(netglass_model::Endpoint),
}

fn key(node: &Node) -> BoxKey<'_> {
    let identity = match &node.process {
        Some(process) => Identity::Process(&process.comm, process.pgid, process.pid),
        None => Identity::Endpoint(node.endpoint()),
    };
    (node.host.as_ref(), node.namespace.as_ref(), identity)
}

/// Draws the answer.
pub(crate) fn draw(tree: &Tree<'_>) -> Diagram {
    let edges = tree.edges();
    let roots: BTreeSet<BoxKey<'_>> = tree.roots.iter().map(|root| key(root.node)).collect();
    let mut boxes: BTreeMap<BoxKey<'_>, &Node> = BTreeMap::new();
    for edge in &edges {
        for node in [&edge.client, &edge.server] {
            boxes.entry(key(node)).or_insert(node);
        }
    }
    for (_, node) in tree.idle_listeners() {
        boxes.entry(key(node)).or_insert(node);
    }
    let many_hosts = boxes.keys().filter_map(|(host, ..)| *host).collect::<BTreeSet<_>>().len() > 1;
    let many_namespaces =
        boxes.keys().filter_map(|(_, namespace, _)| *namespace).collect::<BTreeSet<_>>().len() > 1;

    let mut ids = HashMap::new();
    let mut clusters: Vec<(Option<&HostId>, Vec<Box>)> = Vec::new();
    for (id, (key, node)) in boxes.into_iter().enumerate() {
        let host = key.0.filter(|_| many_hosts);
        let is_root = roots.contains(&key);
        ids.insert(key, id);
        let shown = Box { id, label: label(node, many_namespaces), is_root };
        match clusters.last_mut() {
            Some((last, boxes)) if *last == host => boxes.push(shown),
            _ => clusters.push((host, vec![shown])),
        }
    }

    let mut arrows: BTreeMap<(usize, usize, netglass_model::Endpoint, Protocol), (u64, u64)> =
        BTreeMap::new();
    for edge in &edges {
        let (Some(&from), Some(&to)) = (ids.get(&key(&edge.client)), ids.get(&key(&edge.server)))
        else {
            continue;
        };
        let (connections, failed) =
            arrows.entry((from, to, edge.server.endpoint(), edge.protocol)).or_default();
        *connections = connections.saturating_add(edge.connections);
        *failed = failed.saturating_add(edge.failed.total());
    }
    let arrows =
        arrows.into_iter().map(|((from, to, endpoint, protocol), (connections, failed))| {
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            Arrow { from, to, label: format!("{endpoint}/{protocol} ×{connections}{failed}") }
        });

    let hosts = &tree.dependencies.hosts;
    Diagram {
        clusters: clusters
            .into_iter()
            .map(|(host, boxes)| (host.map(|id| host_name(id, hosts)), boxes))
            .collect(),
        arrows: arrows.collect(),
    }
}

fn label(node: &Node, many_namespaces: bool) -> Vec<String> {
    let mut lines = match &node.process {
        Some(process) => {
            vec![printable(&process.comm).into_owned(), format!("pgid={}", process.pgid)]
        }
        None => vec![node.endpoint().to_string(), "process unknown".to_owned()],
    };
    if let Some(namespace) = node.namespace.as_ref().filter(|_| many_namespaces) {
        lines.push(printable(&namespace.to_string()).into_owned());
    }
    lines
}
