//! The headers that most packets have, read at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netglass_model::IpProtocol;

use super::{Headers, TcpSegment, Tunnels};
use crate::{LinkType, Packet};

const ETHERNET: usize = 14;
/// The length of a header of IPv4 without options.
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Of TCP.
const TO_FLAGS: usize = 14;

const IPV4_ETHER_TYPE: u16 = 0x0800;
const IPV6_ETHER_TYPE: u16 = 0x86dd;
/// Version 4, five words.
const WITHOUT_OPTIONS: u8 = 0x45;
/// Whether more fragments follow, and the offset of this one.
const FRAGMENT: u16 = 0x3fff;
const PORTS: usize = 4;
const TYPE_AND_CODE: usize = 2;
/// Of TCP without options: five words.
const LEAST_OFFSET: u8 = 5 << 4;

/// What [`decode`](super::decode) returns of most packets, in less time: those of TCP, UDP or ICMP over IPv4, in Ethernet frames
/// without tags, that have neither options nor fragments and were captured as far as the flags of TCP are. None of
/// any other packet, and of one of which they say something odd.
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
    let bytes: &[u8; ETHERNET + IPV4 + TO_FLAGS] = packet.bytes.first_chunk()?;
    if half(bytes, 12) != IPV4_ETHER_TYPE
        || bytes[14] != WITHOUT_OPTIONS
        || half(bytes, 20) & FRAGMENT != 0
    {
        return None;
    }
    // What is behind the total length is padding.
    let payload = usize::from(half(bytes, 16)).checked_sub(IPV4)?;
    headers(
        bytes,
        IpAddr::V4(Ipv4Addr::from_bits(word(bytes, 26))),
        IpAddr::V4(Ipv4Addr::from_bits(word(bytes, 30))),
        IpProtocol(bytes[23]),
        payload,
    )
}

/// The same of IPv6 without extension headers.
#[inline]
pub(super) fn decode_common_ipv6(packet: &Packet<'_>, tunnels: Tunnels) -> Option<Headers> {
    if packet.link_type != LinkType::ETHERNET || tunnels != Tunnels::Outer {
        return None;
    }
    let bytes: &[u8; ETHERNET + IPV6 + TO_FLAGS] = packet.bytes.first_chunk()?;
    let payload = usize::from(half(bytes, 18));
    if half(bytes, 12) != IPV6_ETHER_TYPE
        || bytes[14] >> 4 != 6
        || (packet.wire_length as usize) < ETHERNET + IPV6 + payload
    {
        return None;
    }
    let address = |place: usize| {
        let words = [0, 4, 8, 12].map(|word_place| word(bytes, place + word_place));
        IpAddr::V6(Ipv6Addr::from_bits(
            words.iter().fold(0, |bits, &it| bits << 32 | u128::from(it)),
        ))
    };
    headers(bytes, address(22), address(38), IpProtocol(bytes[20]), payload)
}

/// Those of a packet of which so much is there, its payload being so long on the wire.
#[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
#[inline(always)]
fn headers<const LENGTH: usize>(
    bytes: &[u8; LENGTH],
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: usize,
) -> Option<Headers> {
    let place = LENGTH - TO_FLAGS;
    let mut ports = (half(bytes, place), half(bytes, place + 2));
    let (offset, flags) = (bytes[place + 12], bytes[place + 13]);
    let tcp = match protocol {
        IpProtocol::TCP if payload >= TO_FLAGS && offset >= LEAST_OFFSET => Some(TcpSegment {
            sequence: word(bytes, place + 4),
            acknowledgment: word(bytes, place + 8),
            flags,
            payload: u32::try_from(payload.saturating_sub(usize::from(offset >> 4) * 4))
                .unwrap_or(u32::MAX),
        }),
        IpProtocol::UDP if payload >= PORTS => None,
        IpProtocol::ICMPV4 | IpProtocol::ICMPV6 if payload >= TYPE_AND_CODE => {
            ports = (0, ports.0);
            None
        }
        _ => return None,
    };
    let (source_port, destination_port) = ports;
    Some(Headers {
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        fragment: None,
        tcp,
    })
}

#[inline]
fn half(bytes: &[u8], place: usize) -> u16 {
    u16::from_be_bytes([bytes[place], bytes[place + 1]])
}

#[inline]
fn word(bytes: &[u8], place: usize) -> u32 {
    u32::from_be_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
}
