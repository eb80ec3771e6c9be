//! The headers that most packets have, read at once.

use std::net::{IpAddr, Ipv4Addr};

use netglass_model::IpProtocol;

use super::{Headers, TcpSegment, Tunnels};
use crate::{LinkType, Packet};

/// Of Ethernet, IPv4 without options, and TCP as far as the flags.
const LENGTH: usize = 14 + 20 + 14;

const IPV4_ETHER_TYPE: u16 = 0x0800;
/// Version 4, five words.
const WITHOUT_OPTIONS: u8 = 0x45;
/// Whether more fragments follow, and the offset of this one.
const FRAGMENT: u16 = 0x3fff;
/// The length of a header of IPv4 without options.
const IPV4: u32 = 20;
const TCP_TO_FLAGS: u32 = 14;
const PORTS: u32 = 4;
/// Of TCP without options: five words.
const LEAST_OFFSET: u8 = 5 << 4;

/// What [`decode`](super::decode) returns of most packets, in less time: those of TCP or UDP over IPv4, in Ethernet frames
/// without tags, that have neither options nor fragments and were captured as far as these headers
/// reach. None of any other packet, and of one of which they say something odd.
///
/// Whether enough bytes are there is asked once. It is compiled into its caller, so that what is made
/// of the headers needs no copy of them.
#[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
#[inline(always)]
#[must_use]
pub fn decode_common(packet: &Packet<'_>, tunnels: Tunnels) -> Option<Headers> {
    if packet.link_type != LinkType::ETHERNET || tunnels != Tunnels::Outer {
        return None;
    }
    let bytes: &[u8; LENGTH] = packet.bytes.first_chunk()?;
    let half = |place: usize| u16::from_be_bytes([bytes[place], bytes[place + 1]]);
    let word = |place: usize| {
        u32::from_be_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
    };
    let [.., offset, flags] = *bytes;
    if half(12) != IPV4_ETHER_TYPE || bytes[14] != WITHOUT_OPTIONS || half(20) & FRAGMENT != 0 {
        return None;
    }
    // What is behind the total length is padding.
    let payload = u32::from(half(16)).checked_sub(IPV4)?;
    let protocol = IpProtocol(bytes[23]);
    let tcp = match protocol {
        IpProtocol::TCP if payload >= TCP_TO_FLAGS && offset >= LEAST_OFFSET => Some(TcpSegment {
            sequence: word(38),
            acknowledgment: word(42),
            flags,
            payload: payload.saturating_sub(u32::from(offset >> 4) * 4),
        }),
        IpProtocol::UDP if payload >= PORTS => None,
        _ => return None,
    };
    Some(Headers {
        source: IpAddr::V4(Ipv4Addr::from_bits(word(26))),
        destination: IpAddr::V4(Ipv4Addr::from_bits(word(30))),
        protocol,
        source_port: half(34),
        destination_port: half(36),
        fragment: None,
        tcp,
    })
}
