//! How a user asks: the same for every verb that answers about nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use netglass_model::Host;

use super::{Query, Subject};

/// Which nodes are asked about. All conditions must hold.
#[derive(Debug, Args)]
pub(crate) struct QueryArguments {
    /// An address; a host by its name or machine-id; or a process by its name
    #[arg(value_name = "ADDRESS|HOST|PROCESS NAME")]
    subject: Option<Subject>,

    /// Only nodes at this IPv4 address
    #[arg(long, env = "NETGLASS_IPV4", value_name = "ADDRESS", conflicts_with = "ipv6")]
    ipv4: Option<Ipv4Addr>,

    /// Only nodes at this IPv6 address
    #[arg(long, env = "NETGLASS_IPV6", value_name = "ADDRESS")]
    ipv6: Option<Ipv6Addr>,

    /// Only dependencies on services at this port
    #[arg(long, env = "NETGLASS_PORT", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

impl QueryArguments {
    /// The question, understood by the hosts that have ever reported.
    pub(crate) fn query(&self, hosts: &[Host]) -> Query {
        let mut query = Query { port: self.port, ..Query::default() };
        query.addresses.extend(self.ipv4.map(IpAddr::V4));
        query.addresses.extend(self.ipv6.map(|address| IpAddr::V6(address).to_canonical()));
        if let Some(subject) = &self.subject {
            query.restrict(subject, hosts);
        }
        query
    }
}
