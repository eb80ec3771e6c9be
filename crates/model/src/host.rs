//! Hosts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::NamespaceInode;

/// What makes a host itself: two hosts may share a machine-id (a cloned disk) or a name, hardly
/// ever both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId {
    /// The contents of `/etc/machine-id` (machine-id(5)): 32 hexadecimal digits.
    pub machine_id: String,
    /// The node name that `uname -n` shows.
    pub hostname: String,
}

/// A host with all addresses by which others may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Which host it is.
    pub id: HostId,
    /// The network namespace that counts as the host's own: the one in which the probe runs.
    pub namespace: NamespaceInode,
    /// The addresses of its interfaces, loopback included.
    pub addresses: Vec<HostAddress>,
}

/// An address of a host's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostAddress {
    /// The namespace of the interface.
    pub namespace: NamespaceInode,
    /// The address, in its canonical family.
    pub address: IpAddr,
}
