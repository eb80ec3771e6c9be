//! What occurs in an answer, which decides on the columns that are worth their space.

use std::collections::BTreeSet;

use netglass_model::{HostId, Node, Protocol};

#[derive(Default)]
pub(super) struct Seen {
    namespaces: BTreeSet<(Option<HostId>, u64)>,
    hosts: BTreeSet<HostId>,
    udp: bool,
}

impl Seen {
    pub(super) fn add(&mut self, node: &Node, protocol: Option<Protocol>) {
        self.udp |= protocol == Some(Protocol::Udp);
        if let Some(host) = &node.host
            && !self.hosts.contains(host)
        {
            self.hosts.insert(host.clone());
        }
        if let Some(namespace) = &node.namespace {
            self.namespaces.insert((node.host.clone(), namespace.inode.0));
        }
    }

    pub(super) fn has_udp(&self) -> bool {
        self.udp
    }

    /// Whether a host has more than one.
    pub(super) fn has_several_namespaces(&self) -> bool {
        let hosts: BTreeSet<_> = self.namespaces.iter().map(|(host, _)| host).collect();
        self.namespaces.len() > hosts.len()
    }

    pub(super) fn has_several_hosts(&self) -> bool {
        self.hosts.len() > 1
    }
}
