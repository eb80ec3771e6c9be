//! The headers of a packet by which it belongs to a flow.

use std::net::IpAddr;

use netglass_model::IpProtocol;

use crate::LinkType;

/// Which addresses those of a tunneled packet are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tunnels {
    /// Those of the tunnel: GRE, VXLAN, Geneve and IP in IP are flows like any other.
    #[default]
    Outer,
    /// Those of what goes through it.
    Inner,
}

/// The headers of a packet by which it belongs to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The protocol above IP, IPv6 extension headers apart.
    pub protocol: IpProtocol,
    /// The source port of TCP, UDP and SCTP, if it was captured; zero in what has none.
    pub source_port: u16,
    /// The destination port of these; of ICMP its type times 256 and its code; zero in what has none.
    pub destination_port: u16,
    /// Its place in its datagram, if it is a fragment. Ports and the TCP header are in the first.
    pub fragment: Option<Fragment>,
    /// The TCP header, if it is one of TCP and was captured.
    pub tcp: Option<TcpSegment>,
}

/// The place of a fragment in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// What tells the datagrams of two hosts and a protocol apart.
    pub identification: u32,
    /// Where its data begins in the datagram's, in bytes.
    pub offset: u16,
    /// Whether another one follows.
    pub more: bool,
}

/// What a TCP header says, as far as a connection's state depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSegment {
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The flags (RFC 9293, 3.1): `FIN` is 1, `SYN` 2, `RST` 4, `PSH` 8, `ACK` 16, `CWR` 128.
    pub flags: u8,
    /// How many bytes of data the segment has on the wire, by the lengths in the headers.
    pub payload: u32,
}

/// Why a packet has no such headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Undecodable {
    /// It is not of IP: ARP, LLDP, control frames …
    #[error("not of IP")]
    NotIp,
    /// It is not what it says it is.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Malformed {
    /// The capture has fewer bytes of it than its headers take.
    #[error("it was captured too short for its headers")]
    Truncated,
    /// A length in it is less than what it has to hold, or more than there is on the wire.
    #[error("a length in its headers is wrong")]
    Length,
    /// The version in its IP header is another one than what came before says.
    #[error("the version in its IP header is wrong")]
    Version,
    /// There are more headers before the last one than a packet has.
    #[error("there are too many headers in it")]
    TooDeep,
    /// It begins with something of a kind that is not known.
    #[error("its link type is not known")]
    LinkType,
}

/// The headers of a packet of which `bytes` were captured and that begins as `link_type` says.
pub fn decode(link_type: LinkType, bytes: &[u8], tunnels: Tunnels) -> Result<Headers, Undecodable> {
    let _ = (link_type, bytes, tunnels);
    Err(Malformed::LinkType.into())
}
