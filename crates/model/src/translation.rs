//! Connections whose addresses are changed on their way.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, NamespaceInode, Protocol, Timestamp};

/// Who connects to which service; the client's port is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The client's address.
    pub client: IpAddr,
    /// The service.
    pub server: Endpoint,
}

/// Connections that one end knows under other addresses than the other end: translated by a
/// router, a load balancer or the host itself (NAT, RFC 2663), within an interval of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// The network namespace that translates.
    pub namespace: NamespaceInode,
    /// The protocol.
    pub protocol: Protocol,
    /// As the client's end knows them.
    pub original: Route,
    /// As the server's end knows them.
    pub translated: Route,
    /// Distinct connections in the interval, those older than it included.
    pub connections: u64,
    /// Those of them that began in the interval.
    pub opened: u64,
    /// When one was first seen in the interval.
    pub first_seen: Timestamp,
    /// When one was last seen.
    pub last_seen: Timestamp,
}

impl Translation {
    /// Appends what the interval that follows counted of the same connections, as
    /// [`FlowCounters::append`](crate::FlowCounters::append) does.
    pub fn append(&mut self, connections: u64, opened: u64) {
        self.connections = self.connections.saturating_add(opened).max(connections);
        self.opened = self.opened.saturating_add(opened);
    }
}
