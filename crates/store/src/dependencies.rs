//! Who depends on whom, from what both ends of each connection saw.
//!
//! 1. All observations of one flow within the window are folded into one, in order of time.
//! 2. Processes are grouped, so that a server and its workers are one ([`processes`]).
//! 3. Where addresses are translated on the way, what either side saw is brought under one name
//!    ([`translation`], [`service`]).
//! 4. The flows of one client address, server address and port are set against each other: what
//!    the client's end saw, what the server's end saw, and where ([`join`]).
//! 5. What both ends saw becomes one edge, counted once ([`share`]). What one end alone saw becomes
//!    an edge whose other end is named as far as listeners and addresses tell ([`directory`]).

mod directory;
mod fold;
mod interest;
mod join;
mod pair;
mod processes;
mod service;
mod share;
mod tally;
mod translation;

use std::{cmp::Ordering, net::IpAddr};

use netglass_model::{
    Edge, Host, HostId, NetworkNamespace, Node, Port, Process, Protocol, Timestamp,
};

use self::fold::Seen;
pub use self::interest::Interest;
use crate::{Error, Snapshot};

/// Who depended on whom within a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The hosts that reported, sorted by name and machine-id.
    pub hosts: Vec<Host>,
    /// Each dependency once. Sorted by the protocol, the server (address, port, process, host,
    /// namespace), then the client in the same way; a process by its name, process group, process
    /// id and start, unknown ones first.
    pub edges: Vec<Edge>,
    /// The processes that waited for peers, with the endpoints they listened on, whether or not
    /// anyone came; sorted as the servers of `edges` are.
    pub listeners: Vec<(Protocol, Node)>,
}

/// Reads and joins what was seen within the window of `snapshot`.
///
/// An observation belongs to it as a whole as soon as any part of it does.
///
/// With an `interest`, at least the dependencies of the nodes that it names, to its depth, are among
/// the edges, as they are without; others may be missing, and so may listeners.
///
/// Processes of one family ([`Process::family`]) are one node, shown as the oldest of them. A
/// connection that both ends saw counts once. Where several clients and several servers share one pair of addresses and one port, nobody can know who was served by
/// whom: the connections are then shared out in proportion, and the attribution of both nodes is
/// not better than [`Attribution::Listener`](netglass_model::Attribution::Listener).
///
/// Where an address exists in several places, the end in the same namespace is preferred, then the
/// one on the same host, then the only one anywhere. What stays ambiguous is left unknown.
pub fn dependencies(
    snapshot: &mut dyn Snapshot,
    interest: Option<&Interest>,
) -> Result<Dependencies, Error> {
    match interest {
        Some(interest) => {
            let hosts = snapshot.hosts()?;
            dependencies_around(snapshot, interest, hosts)
        }
        None => Ok(joined(fold::read(snapshot)?)),
    }
}

/// The same for whoever has read the `hosts` of the window already.
pub fn dependencies_around(
    snapshot: &mut dyn Snapshot,
    interest: &Interest,
    hosts: Vec<Host>,
) -> Result<Dependencies, Error> {
    Ok(joined(if interest.is_narrow() {
        interest::read(snapshot, interest, hosts)?
    } else {
        fold::read(snapshot)?
    }))
}

fn joined(seen: Seen) -> Dependencies {
    let mut edges = join::edges(&seen);
    edges.sort_by(|a, b| {
        (a.protocol.cmp(&b.protocol))
            .then_with(|| compare_nodes(&a.server, &b.server))
            .then_with(|| compare_nodes(&a.client, &b.client))
    });
    let mut listeners = join::listeners(&seen);
    listeners.sort_by(|(a_protocol, a), (b_protocol, b)| {
        a_protocol.cmp(b_protocol).then_with(|| compare_nodes(a, b))
    });
    let mut hosts = seen.hosts;
    hosts.sort_by(|a, b| {
        (&a.id.hostname, &a.id.machine_id).cmp(&(&b.id.hostname, &b.id.machine_id))
    });
    Dependencies { hosts, edges, listeners }
}

fn compare_nodes(a: &Node, b: &Node) -> Ordering {
    node_key(a).cmp(&node_key(b))
}

type NodeKey<'a> =
    (IpAddr, Port, Option<ProcessKey<'a>>, Option<&'a HostId>, Option<&'a NetworkNamespace>);

fn node_key(node: &Node) -> NodeKey<'_> {
    (
        node.address,
        node.port,
        node.process.as_deref().map(process_key),
        node.host.as_ref(),
        node.namespace.as_ref(),
    )
}

type ProcessKey<'a> = (&'a str, u32, u32, Timestamp, Option<&'a str>, Option<&'a str>);

fn process_key(process: &Process) -> ProcessKey<'_> {
    (
        &process.comm,
        process.pgid,
        process.pid,
        process.start_time,
        process.exe.as_deref(),
        process.container.as_deref(),
    )
}

#[cfg(test)]
mod tests;
