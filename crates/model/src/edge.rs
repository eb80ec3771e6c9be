//! Dependencies between processes.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Attribution, Endpoint, Failures, HostId, NetworkNamespace, Port, Process, Protocol, RttSamples,
    Timestamp,
};

/// One end of a dependency: a process, as far as it is known, at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The host, if a probe reports from it or its address is known to be that host's alone.
    pub host: Option<HostId>,
    /// The network namespace on that host, if known.
    pub namespace: Option<NetworkNamespace>,
    /// The address.
    pub address: IpAddr,
    /// The service's port; many on the client's end.
    pub port: Port,
    /// The process, if known.
    pub process: Option<Arc<Process>>,
    /// How well the process is known.
    pub attribution: Attribution,
}

impl Node {
    /// Address and port.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.address, self.port)
    }
}

/// A client that depends on a server: all connections between the two for one service, counted
/// once however many probes saw them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Who connected.
    pub client: Node,
    /// Who was connected to.
    pub server: Node,
    /// By which protocol.
    pub protocol: Protocol,
    /// Distinct connections.
    pub connections: u64,
    /// Attempts that did not become a connection.
    pub failed: Failures,
    /// Payload bytes from the client to the server.
    pub bytes_sent: u64,
    /// Payload bytes from the server to the client.
    pub bytes_received: u64,
    /// Segments from the client to the server, with and without payload; datagrams of UDP.
    pub segments_sent: u64,
    /// Segments from the server to the client.
    pub segments_received: u64,
    /// Segments sent again, by either end.
    pub retransmits: u64,
    /// Smoothed round trip times.
    pub rtt: RttSamples,
    /// When the first of the connections was first seen.
    pub first_seen: Timestamp,
    /// When the last of them was last seen.
    pub last_seen: Timestamp,
}
