//! Whom an end talks to, where both ends are on this host: what a probe saw of the same would be
//! joined in the same way.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use netglass_model::{
    Direction, Edge, Host, HostFlow, HostId, Listener, NamespaceInode, NetworkNamespace, Node,
    Port, Process, Protocol, Timestamp, Translation,
};
use netglass_store::{Error, Family, Selection, Snapshot, dependencies};

use super::{End, flows};

/// The processes at the other end of each.
pub(super) fn find(ends: &[&End]) -> Vec<Vec<Arc<Process>>> {
    let moment = Timestamp::default();
    let flows: Vec<Option<HostFlow>> =
        ends.iter().map(|end| flows::of(end, moment, moment)).collect();
    // Nothing is read that could fail.
    let joined = dependencies(&mut Seen(&flows), None).unwrap_or_default();
    let mut by_service: HashMap<(Protocol, IpAddr, Port), Vec<&Edge>> = HashMap::new();
    for edge in &joined.edges {
        let service = (edge.protocol, edge.server.address, edge.server.port);
        by_service.entry(service).or_default().push(edge);
    }
    let find = |flow: &HostFlow| {
        let (client, server) = match flow.direction {
            Direction::Active => (flow.local, flow.peer),
            Direction::Passive => (flow.peer, flow.local),
        };
        let edges = by_service.get(&(flow.protocol, server.address, server.port));
        let edges = edges.into_iter().flatten().filter(|it| it.client.address == client.address);
        let mut peers: Vec<Arc<Process>> = Vec::new();
        let mut known = BTreeSet::new();
        for edge in edges {
            let (own, peer) = match flow.direction {
                Direction::Active => (&edge.client, &edge.server),
                Direction::Passive => (&edge.server, &edge.client),
            };
            if is_of(own, flow)
                && let Some(process) = &peer.process
                && known.insert((process.family, process.pgid, process.comm.as_str()))
            {
                peers.push(Arc::clone(process));
            }
        }
        peers
    };
    flows.iter().map(|flow| flow.as_ref().map(find).unwrap_or_default()).collect()
}

/// Whether it is this end that the node is.
fn is_of(node: &Node, flow: &HostFlow) -> bool {
    let is_same = |one: &Process, other: &Process| {
        (one.family, one.pgid, &one.comm) == (other.family, other.pgid, &other.comm)
    };
    node.namespace.as_ref().is_some_and(|it| it.inode == flow.namespace)
        && node.process.as_ref().zip(flow.process.as_ref()).is_some_and(|(a, b)| is_same(a, b))
}

/// What one host saw, none of it from a database.
struct Seen<'a>(&'a [Option<HostFlow>]);

impl Seen<'_> {
    fn host() -> HostId {
        HostId { machine_id: String::new(), hostname: String::new() }
    }

    fn seen(&self) -> impl Iterator<Item = &HostFlow> {
        self.0.iter().flatten()
    }
}

impl Snapshot for Seen<'_> {
    fn hosts(&mut self) -> Result<Vec<Host>, Error> {
        Ok(vec![Host { id: Self::host(), namespace: NamespaceInode(0), addresses: Vec::new() }])
    }

    fn namespaces(
        &mut self,
        _: &[HostId],
        visit: &mut dyn FnMut(&HostId, NetworkNamespace),
    ) -> Result<(), Error> {
        let inodes: BTreeSet<NamespaceInode> = self.seen().map(|flow| flow.namespace).collect();
        for inode in inodes {
            visit(&Self::host(), NetworkNamespace { inode, name: None });
        }
        Ok(())
    }

    fn flows(
        &mut self,
        _: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error> {
        self.seen().for_each(|flow| visit(&Self::host(), flow.clone()));
        Ok(())
    }

    fn listeners(
        &mut self,
        _: Option<&Selection>,
        _: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error> {
        Ok(())
    }

    fn members(
        &mut self,
        _: &[Family],
        _: &mut dyn FnMut(&HostId, Arc<Process>),
    ) -> Result<(), Error> {
        Ok(())
    }

    fn translations(&mut self, _: &mut dyn FnMut(&HostId, Translation)) -> Result<(), Error> {
        Ok(())
    }
}
