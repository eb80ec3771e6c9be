//! Which of what was seen is read.

use std::net::IpAddr;

use netglass_model::{Endpoint, HostId, Process, Protocol};

/// A process family of a host: a server and its workers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The host.
    pub host: HostId,
    /// [`Process::family`].
    pub family: u32,
    /// The process group.
    pub pgid: u32,
    /// The name of its processes.
    pub comm: String,
}

impl Family {
    /// That of a process of `host`.
    #[must_use]
    pub fn of(host: &HostId, process: &Process) -> Self {
        Self {
            host: host.clone(),
            family: process.family,
            pgid: process.pgid,
            comm: process.comm.clone(),
        }
    }
}

/// The connections of one client address with one service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Their protocol.
    pub protocol: Protocol,
    /// The service.
    pub server: Endpoint,
    /// The client's address.
    pub client: IpAddr,
    /// On this host alone: loopback addresses exist on every one.
    pub host: Option<HostId>,
}

/// The connections to a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Their protocol.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// Its address; any where there is none.
    pub address: Option<IpAddr>,
    /// As seen on this host alone.
    pub host: Option<HostId>,
}

/// Which flows or listeners are read: those of which any of this is true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// They are on one of these hosts.
    pub hosts: Vec<HostId>,
    /// Their process has one of these names.
    pub names: Vec<String>,
    /// Their process belongs to one of these families.
    pub families: Vec<Family>,
    /// They have one of these addresses at either end. Of flows alone.
    pub addresses: Vec<IpAddr>,
    /// They are of connections to one of these services. Of flows alone.
    pub servers: Vec<Server>,
    /// They are of connections of one of these clients with one of these services. Of flows alone.
    pub services: Vec<Service>,
}

impl Selection {
    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
