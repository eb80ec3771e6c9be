//! Packets made by hand, for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netglass_model::{IpProtocol, Timestamp};

use super::{Headers, Tunnels, Undecodable, decode};
use crate::{LinkType, Packet};

pub(super) const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(super) const SOURCE_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const DESTINATION_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// From port 1000 to port 53, four bytes of data.
pub(super) const UDP: [u8; 12] = [0x03, 0xe8, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];

/// An IPv4 packet without options.
pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fixed = [0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, protocol, 0, 0];
    [&fixed[..], &SOURCE.octets(), &DESTINATION.octets(), payload].concat()
}

/// An IPv6 packet.
pub(super) fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let fixed = [0x60, 0, 0, 0, length[0], length[1], next_header, 64];
    [&fixed[..], &SOURCE_6.octets(), &DESTINATION_6.octets(), payload].concat()
}

/// An Ethernet frame.
pub(super) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
}

/// The headers of [`UDP`] in [`ipv4`].
pub(super) fn udp_headers() -> Headers {
    Headers {
        source: IpAddr::V4(SOURCE),
        destination: IpAddr::V4(DESTINATION),
        protocol: IpProtocol::UDP,
        source_port: 1000,
        destination_port: 53,
        fragment: None,
        tcp: None,
    }
}

/// The headers of [`UDP`] in [`ipv6`].
pub(super) fn udp_headers_6() -> Headers {
    Headers {
        source: IpAddr::V6(SOURCE_6),
        destination: IpAddr::V6(DESTINATION_6),
        ..udp_headers()
    }
}

/// The outermost headers of a packet that was captured whole.
pub(super) fn outer(link_type: LinkType, bytes: &[u8]) -> Result<Headers, Undecodable> {
    decode(&packet(link_type, bytes), Tunnels::Outer)
}

/// The innermost ones.
pub(super) fn inner(link_type: LinkType, bytes: &[u8]) -> Result<Headers, Undecodable> {
    decode(&packet(link_type, bytes), Tunnels::Inner)
}

/// A packet that was captured whole.
pub(super) fn packet(link_type: LinkType, bytes: &[u8]) -> Packet<'_> {
    let wire_length = u32::try_from(bytes.len()).unwrap();
    Packet { at: Timestamp::default(), link_type, interface: 0, wire_length, bytes }
}
