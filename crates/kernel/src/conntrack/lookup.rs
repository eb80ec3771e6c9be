//! What the kernel's connection tracking knows of one connection.

use std::net::{IpAddr, SocketAddr};

use netglass_model::Protocol;

use super::message::{HEADER_LENGTH, Tuple, parse};
use crate::{
    Error,
    netlink::{Family, Netlink, message::Attributes},
};

const WHAT: &str = "a tracked connection";

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const IPCTNL_MSG_CT_GET: u16 = 1 << 8 | 1;

const NLA_F_NESTED: u16 = 0x8000;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// A connection with all that is tracked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What the client sends, before translation.
    pub original: Tuple,
    /// What the server answers, after translation.
    pub reply: Tuple,
    /// The flags of `enum ip_conntrack_status`.
    pub status: u32,
    /// `enum tcp_conntrack`, of TCP.
    pub tcp_state: Option<u8>,
    /// The mark of the connection.
    pub mark: u32,
    /// Packets and bytes of the original direction; zero where the kernel does not count them.
    pub sent: (u64, u64),
    /// Packets and bytes of the reply direction.
    pub received: (u64, u64),
}

/// Asks for single connections of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Lookups {
    netlink: Netlink,
}

impl Lookups {
    /// Opens the way to the kernel, which takes the capability `CAP_NET_ADMIN` to answer.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open(Family::Netfilter, WHAT)? })
    }

    /// The connection that a client began from one end to another; `None` where it is not tracked.
    pub fn find(
        &mut self,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Option<Tracked>, Error> {
        let payload = request(protocol, source, destination);
        let mut found = None;
        let result = self.netlink.ask(WHAT, IPCTNL_MSG_CT_GET, &payload, |message| {
            found = read(message.payload);
        });
        match result {
            Ok(()) => Ok(found),
            Err(Error::Netlink { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn request(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let addresses = [attribute(1, &source.octets()), attribute(2, &destination.octets())];
            (AF_INET, addresses.concat())
        }
        (source, destination) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let addresses = [attribute(3, &octets(source)), attribute(4, &octets(destination))];
            (AF_INET6, addresses.concat())
        }
    };
    let number = match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    };
    let ports = [
        attribute(1, &[number]),
        attribute(2, &source.port().to_be_bytes()),
        attribute(3, &destination.port().to_be_bytes()),
    ];
    let tuple =
        [attribute(1 | NLA_F_NESTED, &addresses), attribute(2 | NLA_F_NESTED, &ports.concat())];
    // struct nfgenmsg: the family, the version and no resource.
    let mut payload = vec![family, 0, 0, 0];
    payload.extend(attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, &tuple.concat()));
    payload
}

/// Nothing of what is neither of TCP nor of UDP, or cannot be understood.
pub(super) fn read(payload: &[u8]) -> Option<Tracked> {
    let entry = parse(payload).ok()??;
    let mut tracked = Tracked {
        protocol: entry.protocol,
        original: entry.original,
        reply: entry.reply,
        status: 0,
        tcp_state: None,
        mark: 0,
        sent: (0, 0),
        received: (0, 0),
    };
    let number = |value: &[u8]| value.first_chunk().copied().map_or(0, u32::from_be_bytes);
    for (kind, value) in Attributes::new(payload.get(HEADER_LENGTH..)?) {
        match kind {
            CTA_STATUS => tracked.status = number(value),
            CTA_MARK => tracked.mark = number(value),
            CTA_PROTOINFO => tracked.tcp_state = tcp_state(value),
            CTA_COUNTERS_ORIG => tracked.sent = counters(value),
            CTA_COUNTERS_REPLY => tracked.received = counters(value),
            _ => {}
        }
    }
    Some(tracked)
}

fn tcp_state(value: &[u8]) -> Option<u8> {
    let (_, tcp) = Attributes::new(value).find(|(kind, _)| *kind == CTA_PROTOINFO_TCP)?;
    let mut attributes = Attributes::new(tcp);
    attributes.find(|(kind, _)| *kind == CTA_PROTOINFO_TCP_STATE)?.1.first().copied()
}

fn counters(value: &[u8]) -> (u64, u64) {
    let number = |value: &[u8]| value.first_chunk().copied().map_or(0, u64::from_be_bytes);
    let mut counters = (0, 0);
    for (kind, value) in Attributes::new(value) {
        match kind {
            CTA_COUNTERS_PACKETS => counters.0 = number(value),
            CTA_COUNTERS_BYTES => counters.1 = number(value),
            _ => {}
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_that_is_tracked_is_read() {
        let (source, destination) =
            ("10.0.0.2:1000".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
        let mut payload = request(Protocol::Tcp, source, destination);
        let tuple = payload[4 + 4..].to_vec();
        payload.extend(attribute(2 | NLA_F_NESTED, &tuple));
        payload.extend(attribute(CTA_STATUS, &0x18e_u32.to_be_bytes()));
        payload.extend(attribute(CTA_MARK, &42_u32.to_be_bytes()));
        let state = attribute(CTA_PROTOINFO_TCP | NLA_F_NESTED, &attribute(1, &[3]));
        payload.extend(attribute(CTA_PROTOINFO | NLA_F_NESTED, &state));
        let counts = [attribute(1, &4_u64.to_be_bytes()), attribute(2, &316_u64.to_be_bytes())];
        payload.extend(attribute(CTA_COUNTERS_ORIG | NLA_F_NESTED, &counts.concat()));
        let tracked = read(&payload).unwrap();
        assert_eq!((tracked.status, tracked.mark, tracked.tcp_state), (0x18e, 42, Some(3)));
        assert_eq!((tracked.sent, tracked.received), ((4, 316), (0, 0)));
        assert_eq!((tracked.original.source_port, tracked.reply.destination_port), (1000, 80));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            read(&bytes);
        }
    }
}
