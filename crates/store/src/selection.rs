//! Which of what was seen is read.

use std::net::IpAddr;

use netglass_model::{Direction, Endpoint, HostId, Process, Protocol, Route};

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

impl Service {
    /// What `host` calls such connections. A client whose address was translated to a loopback one
    /// may still reach another host.
    #[must_use]
    pub fn of(host: &HostId, protocol: Protocol, Route { client, server }: Route) -> Self {
        let host = server.address.is_loopback().then(|| host.clone());
        Self { protocol, server, client, host }
    }

    /// That of a flow that `host` saw between these ends.
    #[must_use]
    pub fn of_ends(
        host: &HostId,
        protocol: Protocol,
        direction: Direction,
        local: Endpoint,
        peer: Endpoint,
    ) -> Self {
        let route = match direction {
            Direction::Active => Route { client: local.address, server: peer },
            Direction::Passive => Route { client: peer.address, server: local },
        };
        Self::of(host, protocol, route)
    }
}

/// The connections to a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Their protocol.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// Where it is.
    pub place: Place,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// At this address, whoever saw it.
    At(IpAddr),
    /// As seen on this host alone, at this address or at any.
    On(HostId, Option<IpAddr>),
}

impl Place {
    /// The address, if it is said.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::At(address) => Some(*address),
            Self::On(_, address) => *address,
        }
    }

    /// The host, if it is said.
    #[must_use]
    pub const fn host(&self) -> Option<&HostId> {
        match self {
            Self::At(_) => None,
            Self::On(host, _) => Some(host),
        }
    }
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
