//! What a user asks about, and which nodes that is.

mod arguments;

use std::{fmt, net::IpAddr, str::FromStr};

use netglass_model::{Edge, Host, HostId, NamespaceInode, Node, Protocol, printable};
use netglass_store::{Dependencies, Interest};

pub(crate) use self::arguments::QueryArguments;

/// `ADDRESS|HOST|PROCESS NAME`, as far as it can be told apart without a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An address, in its canonical family.
    Address(IpAddr),
    /// The name of a host or of a process, or a machine-id.
    Name(String),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty text names nothing".to_owned());
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if let Ok(endpoint) = text.parse::<std::net::SocketAddr>() {
            let (address, port) = (endpoint.ip(), endpoint.port());
            return Err(format!("give the port apart: {address} --port {port}"));
        }
        if looks_like_an_address(bare) {
            return Err("neither an IPv4 nor an IPv6 address".to_owned());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// Whether whoever wrote this meant an address, so that a slip is not taken for a name.
fn looks_like_an_address(text: &str) -> bool {
    let only = |allowed: fn(char) -> bool| text.chars().all(allowed);
    only(|character| character.is_ascii_digit() || character == '.')
        || (only(|character| character.is_ascii_hexdigit() || matches!(character, ':' | '.'))
            && text.matches(':').count() >= 2)
}

/// Which nodes are asked about: those that all conditions hold of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Only nodes at each of these addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Only nodes on one of these hosts.
    pub(crate) hosts: Option<Vec<HostId>>,
    /// Only nodes of processes with this name.
    pub(crate) process: Option<String>,
    /// Only dependencies on services at this port.
    pub(crate) port: Option<u16>,
}

impl Query {
    /// All nodes of one host.
    pub(crate) fn host(host: HostId) -> Self {
        Self { hosts: Some(vec![host]), ..Self::default() }
    }

    /// Adds what `subject` says: an address; or a host, if one of `hosts` has that name or
    /// machine-id; else a process.
    pub(crate) fn restrict(&mut self, subject: &Subject, hosts: &[Host]) {
        match subject {
            Subject::Address(address) => self.addresses.push(*address),
            Subject::Name(name) => {
                let hosts: Vec<HostId> = hosts
                    .iter()
                    .filter(|host| host.id.hostname == *name || host.id.machine_id == *name)
                    .map(|host| host.id.clone())
                    .collect();
                if hosts.is_empty() {
                    self.process = Some(name.clone());
                } else {
                    self.hosts = Some(hosts);
                }
            }
        }
    }

    /// What has to be read to answer to this depth; all that there is where no node is named.
    pub(crate) fn interest(&self, depth: u32) -> Option<Interest> {
        self.names_nodes().then(|| Interest {
            hosts: self.hosts.clone().unwrap_or_default(),
            address: self.addresses.first().copied(),
            process: self.process.clone(),
            depth,
        })
    }

    /// Whether anything but a port is asked for.
    pub(crate) fn names_nodes(&self) -> bool {
        !self.addresses.is_empty() || self.hosts.is_some() || self.process.is_some()
    }

    /// Whether the answer may hold this dependency.
    pub(crate) fn keeps(&self, edge: &Edge) -> bool {
        self.port.is_none_or(|port| edge.server.port.number() == Some(port))
    }

    /// Whether a node that depends on others is asked about. Who asks for a port alone asks for
    /// its servers.
    pub(crate) fn wants_client(&self, node: &Node) -> bool {
        self.names_nodes() && self.matches(node)
    }

    /// Whether a node on which others depend is asked about.
    pub(crate) fn wants_server(&self, node: &Node) -> bool {
        self.matches(node)
    }

    /// Whether an edge leads to or from a node that is asked about.
    pub(crate) fn wants_edge(&self, edge: &Edge) -> bool {
        self.keeps(edge) && (self.wants_client(&edge.client) || self.wants_server(&edge.server))
    }

    fn matches(&self, node: &Node) -> bool {
        self.addresses.iter().all(|address| *address == node.address) && self.matches_owner(node)
    }

    fn matches_owner(&self, node: &Node) -> bool {
        let on_host = |hosts: &Vec<HostId>| node.host.as_ref().is_some_and(|id| hosts.contains(id));
        let named = |name: &String| node.process.as_ref().is_some_and(|it| it.comm == *name);
        self.hosts.as_ref().is_none_or(on_host) && self.process.as_ref().is_none_or(named)
    }

    /// Whether a listener is asked about. One that listens on the wildcard is at every address of
    /// its namespace.
    pub(crate) fn wants_listener(
        &self,
        (_, node): &(Protocol, Node),
        dependencies: &Dependencies,
    ) -> bool {
        let at = |address: &IpAddr| {
            node.address == *address
                || (accepts(node.address, *address)
                    && has_address(dependencies, node, *address).unwrap_or(false))
        };
        self.addresses.iter().all(at)
            && self.matches_owner(node)
            && self.port.is_none_or(|port| node.port.number() == Some(port))
    }
}

/// Whether a socket that listens on `listening` is reached at `address`. The IPv6 wildcard accepts
/// IPv4 too, as it does by default (ipv6(7), `bindv6only`).
pub(crate) fn accepts(listening: IpAddr, address: IpAddr) -> bool {
    listening == address
        || (listening.is_unspecified() && (listening.is_ipv6() || address.is_ipv4()))
}

/// Whether the namespace of `node` has `address`; none if its host is not known.
fn has_address(dependencies: &Dependencies, node: &Node, address: IpAddr) -> Option<bool> {
    let id = node.host.as_ref()?;
    let host = dependencies.hosts.iter().find(|host| host.id == *id)?;
    let namespace: Option<NamespaceInode> = node.namespace.as_ref().map(|it| it.inode);
    Some(host.addresses.iter().any(|it| {
        it.address == address && namespace.is_none_or(|namespace| namespace == it.namespace)
    }))
}

/// `process 'nginx' at address 10.0.0.1, port 80`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(name) = &self.process {
            parts.push(format!("host or process '{}'", printable(name)));
        }
        if let Some(hosts) = &self.hosts {
            parts.extend(hosts.iter().map(|id| format!("host '{}'", printable(&id.hostname))));
        }
        parts.extend(self.addresses.iter().map(|address| format!("address {address}")));
        parts.extend(self.port.map(|port| format!("port {port}")));
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_address_where_it_is_one() {
        let address = |text: &str| Ok(Subject::Address(text.parse().unwrap()));
        assert_eq!("10.0.0.1".parse(), address("10.0.0.1"));
        assert_eq!("[fe80::1]".parse(), address("fe80::1"));
        assert_eq!("fe80::1".parse(), address("fe80::1"));
        assert_eq!("::ffff:10.0.0.1".parse(), address("10.0.0.1"));
    }

    #[test]
    fn a_slip_in_an_address_is_not_taken_for_a_name() {
        for text in ["10.0.0", "10.0.0.256", "1.2.3.4.5", "fe80::1::2", "12345:::", "[10.0.0.1.1]"]
        {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.contains("neither"), "{text}: {error}");
        }
        assert_eq!(
            "10.0.0.1:80".parse::<Subject>().unwrap_err(),
            "give the port apart: 10.0.0.1 --port 80"
        );
        assert!("".parse::<Subject>().is_err());
    }

    #[test]
    fn everything_else_is_a_name() {
        for text in ["nginx", "web-1.example.com", "kworker/0:1", "cafe", "a:b", "(sd-pam)"] {
            assert_eq!(text.parse(), Ok(Subject::Name(text.to_owned())));
        }
    }
}
