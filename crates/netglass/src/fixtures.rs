//! Made-up dependencies for tests.

use std::{net::IpAddr, sync::Arc, time::Duration};

use netglass_model::{
    Attribution, Edge, Endpoint, Failures, Host, HostAddress, HostId, Ledger, NamespaceInode,
    NetworkNamespace, Node, Port, Probe, ProbeId, ProbeStatus, Process, Protocol, RttSamples,
    SpoolUsage, Timestamp,
};
use netglass_store::Dependencies;

use crate::{
    query::Query,
    tree::{Extent, Tree},
};

/// The present, for every test.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_nanoseconds(1_700_000_000_000_000_000)
}

/// The host with this name.
pub(crate) fn host_id(name: &str) -> HostId {
    HostId { machine_id: format!("{:0<32}", name.len()), hostname: name.to_owned() }
}

/// A probe on the host with this name that runs; its start and its last flush in seconds ago.
pub(crate) fn probe_status(host: &str, started: u64, last_flush: u64) -> ProbeStatus {
    let ago = |seconds| now().saturating_sub(Duration::from_secs(seconds));
    ProbeStatus {
        host: host_id(host),
        probe: Probe {
            id: ProbeId("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()),
            boot_id: "b9d20b0f-0b7a-4a0f-8d57-3a6c3d0a5f11".to_owned(),
            version: "0.1.0".to_owned(),
            started: ago(started),
        },
        first_flush: ago(started),
        last_flush: ago(last_flush),
        sequence: 7,
        ended: false,
        spool: SpoolUsage::default(),
        ledger: Ledger::default(),
    }
}

/// A node on host `web`, in its only namespace; `comm` empty stands for an unknown process.
pub(crate) fn node(endpoint: &str, comm: &str, pgid: u32) -> Node {
    let (address, port) = endpoint.rsplit_once(':').unwrap();
    let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
    let port = port.parse().map_or(Port::Many, Port::Number);
    let process = (!comm.is_empty()).then(|| Arc::new(process(comm, pgid)));
    let attribution = if comm.is_empty() { Attribution::Namespace } else { Attribution::Socket };
    Node {
        host: Some(host_id("web")),
        namespace: Some(NetworkNamespace { inode: NamespaceInode(4_026_531_840), name: None }),
        address: Endpoint::new(address, port).address,
        port,
        process,
        attribution,
    }
}

pub(crate) fn process(comm: &str, pgid: u32) -> Process {
    Process {
        pid: pgid,
        start_time: now().saturating_sub(Duration::from_secs(86_400)),
        pgid,
        ppid: 1,
        family: pgid,
        uid: Some(33),
        gid: Some(33),
        comm: comm.to_owned(),
        exe: Some(format!("/usr/bin/{comm}")),
        cgroup: None,
        container: None,
        command_line: Some(format!("{comm} -c /etc/{comm}.conf")),
    }
}

/// Changes to a node.
pub(crate) trait NodeExt: Sized {
    fn on(self, host: &str) -> Self;
    fn within(self, inode: u64, name: &str) -> Self;
    fn elsewhere(self) -> Self;
    fn with_pid(self, pid: u32) -> Self;
}

impl NodeExt for Node {
    fn on(mut self, host: &str) -> Self {
        self.host = Some(host_id(host));
        self
    }

    fn within(mut self, inode: u64, name: &str) -> Self {
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        self.namespace = Some(NetworkNamespace { inode: NamespaceInode(inode), name });
        self
    }

    fn elsewhere(mut self) -> Self {
        (self.host, self.namespace) = (None, None);
        self
    }

    fn with_pid(mut self, pid: u32) -> Self {
        self.process = self.process.map(|it| Arc::new(Process { pid, ..(*it).clone() }));
        self
    }
}

/// Dependencies in the making.
#[derive(Default)]
pub(crate) struct Edges {
    edges: Vec<Edge>,
    listeners: Vec<(Protocol, Node)>,
}

impl Edges {
    /// A client depends on a server by TCP.
    pub(crate) fn tcp(mut self, client: Node, server: Node) -> Self {
        self.edges.push(Edge {
            client,
            server,
            protocol: Protocol::Tcp,
            connections: 12,
            failed: Failures::default(),
            bytes_sent: 1_234,
            bytes_received: 5_678_901,
            segments_sent: 123,
            segments_received: 4_567,
            retransmits: 3,
            rtt: RttSamples { sum_us: 500, count: 4 },
            first_seen: now().saturating_sub(Duration::from_secs(600)),
            last_seen: now().saturating_sub(Duration::from_secs(3)),
        });
        self
    }

    /// A client depends on a server by UDP, of which nothing is counted.
    pub(crate) fn udp(self, client: Node, server: Node) -> Self {
        self.tcp(client, server).last(|edge| {
            edge.protocol = Protocol::Udp;
            (edge.bytes_sent, edge.bytes_received, edge.retransmits) = (0, 0, 0);
            (edge.segments_sent, edge.segments_received) = (0, 0);
            edge.rtt = RttSamples::default();
        })
    }

    /// Changes the last dependency.
    pub(crate) fn last(mut self, change: impl FnOnce(&mut Edge)) -> Self {
        change(self.edges.last_mut().unwrap());
        self
    }

    /// A process listens by TCP.
    pub(crate) fn listener(mut self, node: Node) -> Self {
        self.listeners.push((Protocol::Tcp, node));
        self
    }

    /// What a database would have answered.
    pub(crate) fn dependencies(self) -> Dependencies {
        let ends = self.edges.iter().flat_map(|edge| [&edge.client, &edge.server]);
        let nodes: Vec<&Node> = ends.chain(self.listeners.iter().map(|(_, node)| node)).collect();
        let mut hosts: Vec<Host> = Vec::new();
        for node in nodes {
            let (Some(id), Some(namespace)) = (&node.host, &node.namespace) else { continue };
            let address = HostAddress { namespace: namespace.inode, address: node.address };
            match hosts.iter_mut().find(|host| host.id == *id) {
                Some(host) => host.addresses.push(address),
                None => hosts.push(Host {
                    id: id.clone(),
                    namespace: namespace.inode,
                    addresses: vec![address],
                }),
            }
        }
        Dependencies { hosts, edges: self.edges, listeners: self.listeners }
    }

    /// The picture in shawk's documentation: a load generator, nginx, and what is behind it.
    pub(crate) fn web() -> Self {
        Self::default()
            .tcp(node("10.0.0.11:many", "wrk", 5982).elsewhere(), nginx())
            .tcp(node("10.0.0.10:many", "nginx", 4656), node("10.0.0.12:8080", "python", 6111))
            .last(|edge| edge.failed = Failures { refused: 1, other: 1, ..Failures::default() })
            .tcp(
                node("10.0.0.10:many", "fluentd", 2127),
                node("10.0.0.13:24224", "", 0).elsewhere(),
            )
    }

    /// A client on one host, and its server on another.
    pub(crate) fn two_hosts() -> Self {
        Self::default().tcp(
            node("10.0.0.10:many", "nginx", 4656),
            node("10.0.0.20:5432", "postgres", 9).on("db"),
        )
    }

    /// A listener alone.
    pub(crate) fn only_listening() -> Self {
        Self::default().listener(node("0.0.0.0:22", "sshd", 700))
    }
}

/// The nginx of [`Edges::web`].
pub(crate) fn nginx() -> Node {
    node("10.0.0.10:80", "nginx", 4656)
}

/// One dependency on a process of any name, which is its command line too.
pub(crate) fn named_edge(comm: &str) -> Edges {
    let mut server = nginx();
    server.process = Some(Arc::new(Process {
        comm: comm.to_owned(),
        command_line: Some(comm.to_owned()),
        ..process("x", 4656)
    }));
    Edges::default().tcp(node("10.0.0.11:many", "wrk", 5982).elsewhere(), server)
}

/// The answer to a query for all there is.
pub(crate) fn tree_of_everything(dependencies: &Dependencies) -> Tree<'_> {
    let query = Query {
        hosts: Some(dependencies.hosts.iter().map(|host| host.id.clone()).collect()),
        ..Query::default()
    };
    Tree::build(dependencies, &query, Extent { depth: 3, listening: true })
}
