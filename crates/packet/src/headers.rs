//! The headers of a packet by which it belongs to a flow.

mod common;
mod ethernet;
mod head;
mod ip;
mod ipv4;
mod ipv6;
mod link;
mod mpls;
mod ppp;
mod rest;
mod transport;
mod tunnel;
mod wifi;

use std::net::IpAddr;

use netglass_model::IpProtocol;

use self::rest::Rest;
pub use self::{common::decode_common, head::decode_head};
use crate::Packet;

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
    /// The protocol above IP, IPv6 extension headers apart. Where the capture ends among these, it is
    /// the number of the first that is not there; in a later fragment of IPv6, of whatever the
    /// first one begins with.
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
    /// What tells the datagrams of two hosts apart, of IPv4 those of each protocol.
    pub identification: u32,
    /// Where its data begins in the datagram's, in bytes.
    pub offset: u16,
    /// Whether another one follows.
    pub more: bool,
}

impl Fragment {
    /// Whether it is another one than the first, and so without the headers above IP.
    #[must_use]
    pub const fn is_later(self) -> bool {
        self.offset != 0
    }
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
    /// How many bytes of data the segment has on the wire, by the lengths in the headers; by that of the
    /// packet, where IP leaves its length out.
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
    /// The capture of it ends before its addresses do.
    #[error("it was captured too short for its headers")]
    Truncated,
    /// A length in it is less than what it has to hold.
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

/// What comes of reading a header and those behind it.
type Decoded = Result<Headers, Undecodable>;

/// The headers of a packet.
///
/// A packet of which both addresses were captured is one of a flow, with what ports there are, whatever
/// its capture or its lengths lack behind them. Before that
///
/// - it is not of IP, if a header says that something else follows, or what cannot be read: encrypted
///   frames, fragments of frames;
/// - it is malformed, if it ends before its addresses, if its IP header is of another version than
///   what comes before says, or has a length less than its own, if more headers come first than any
///   packet has, or if its link type is not known.
///
/// Checksums are not looked at: network cards fill them in after the capture. Nor is anything above IP
/// taken for wrong. With [`Tunnels::Inner`] a packet is one of the tunnel nevertheless, where what goes
/// through that is not of IP, malformed or in fragments.
pub fn decode(packet: &Packet<'_>, tunnels: Tunnels) -> Result<Headers, Undecodable> {
    match decode_most(packet, tunnels) {
        Some(headers) => Ok(headers),
        None => decode_any(packet, tunnels),
    }
}

/// Those of nearly all packets, which tell all without what is behind them.
fn decode_most(packet: &Packet<'_>, tunnels: Tunnels) -> Option<Headers> {
    decode_common(packet, tunnels).or_else(|| common::decode_common_ipv6(packet, tunnels))
}

/// The headers of a packet, header by header.
#[inline(never)]
fn decode_any(packet: &Packet<'_>, tunnels: Tunnels) -> Result<Headers, Undecodable> {
    link::packet(packet.link_type, Rest::of(packet, tunnels))
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use etherparse::{IpNumber, PacketBuilder};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::samples::packet;
    use super::*;
    use crate::LinkType;

    /// What comes before the IP header of a made packet.
    #[derive(Debug, Clone, Copy)]
    enum Before {
        Nothing,
        Ethernet,
        Tag(u16),
        Tags(u16, u16),
        Cooked,
    }

    #[derive(Debug, Clone, Copy)]
    enum Addresses {
        V4([u8; 4], [u8; 4]),
        V6([u8; 16], [u8; 16]),
    }

    #[derive(Debug, Clone, Copy)]
    enum Above {
        Udp(u16, u16),
        Tcp { source: u16, destination: u16, sequence: u32, acknowledgment: u32, is_reset: bool },
        Echo(u16),
        Other(u8),
    }

    fn before() -> impl Strategy<Value = Before> {
        prop_oneof![
            Just(Before::Nothing),
            Just(Before::Ethernet),
            (0..4095_u16).prop_map(Before::Tag),
            (0..4095_u16, 0..4095_u16).prop_map(|(outer, inner)| Before::Tags(outer, inner)),
            Just(Before::Cooked),
        ]
    }

    fn addresses() -> impl Strategy<Value = Addresses> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(from, to)| Addresses::V4(from, to)),
            any::<([u8; 16], [u8; 16])>().prop_map(|(from, to)| Addresses::V6(from, to)),
        ]
    }

    fn above() -> impl Strategy<Value = Above> {
        prop_oneof![
            any::<(u16, u16)>().prop_map(|(source, destination)| Above::Udp(source, destination)),
            any::<(u16, u16, u32, u32, bool)>().prop_map(
                |(source, destination, sequence, acknowledgment, is_reset)| Above::Tcp {
                    source,
                    destination,
                    sequence,
                    acknowledgment,
                    is_reset
                }
            ),
            any::<u16>().prop_map(Above::Echo),
            // Those of no tunnel and no header that is read.
            prop_oneof![Just(2), Just(89), 140..=255_u8].prop_map(Above::Other),
        ]
    }

    /// A packet as another library writes it, and what it should be taken for.
    fn build(
        before: Before,
        addresses: Addresses,
        above: Above,
        data: &[u8],
    ) -> (LinkType, Vec<u8>, Headers) {
        use etherparse::{
            IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FlowLabel, Ipv6Header,
            LinuxSllPacketType, VlanId,
        };

        let ip = match addresses {
            Addresses::V4(source, destination) => IpHeaders::Ipv4(
                Ipv4Header::new(0, 64, IpNumber::UDP, source, destination).unwrap(),
                Ipv4Extensions::default(),
            ),
            Addresses::V6(source, destination) => IpHeaders::Ipv6(
                Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: 0,
                    next_header: IpNumber::UDP,
                    hop_limit: 64,
                    source,
                    destination,
                },
                Ipv6Extensions::default(),
            ),
        };
        let vlan = |number| VlanId::try_new(number).unwrap();
        let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
        let (link_type, builder) = match before {
            Before::Nothing => (LinkType::RAW, PacketBuilder::ip(ip)),
            Before::Ethernet => (LinkType::ETHERNET, ethernet().ip(ip)),
            Before::Tag(number) => {
                (LinkType::ETHERNET, ethernet().single_vlan(vlan(number)).ip(ip))
            }
            Before::Tags(outer, inner) => {
                (LinkType::ETHERNET, ethernet().double_vlan(vlan(outer), vlan(inner)).ip(ip))
            }
            Before::Cooked => {
                let cooked =
                    PacketBuilder::linux_sll(LinuxSllPacketType::HOST, 6, [1, 2, 3, 4, 5, 6, 0, 0]);
                (LinkType::LINUX_SLL, cooked.ip(ip))
            }
        };
        let (source, destination) = match addresses {
            Addresses::V4(source, destination) => {
                (IpAddr::V4(Ipv4Addr::from(source)), IpAddr::V4(Ipv4Addr::from(destination)))
            }
            Addresses::V6(source, destination) => {
                (IpAddr::V6(Ipv6Addr::from(source)), IpAddr::V6(Ipv6Addr::from(destination)))
            }
        };
        let mut headers = Headers {
            source,
            destination,
            protocol: IpProtocol::UDP,
            source_port: 0,
            destination_port: 0,
            fragment: None,
            tcp: None,
        };
        let mut bytes = Vec::new();
        match above {
            Above::Udp(source, destination) => {
                (headers.source_port, headers.destination_port) = (source, destination);
                builder.udp(source, destination).write(&mut bytes, data).unwrap();
            }
            Above::Tcp { source, destination, sequence, acknowledgment, is_reset } => {
                headers.protocol = IpProtocol::TCP;
                (headers.source_port, headers.destination_port) = (source, destination);
                headers.tcp = Some(TcpSegment {
                    sequence,
                    acknowledgment,
                    flags: if is_reset { 0x14 } else { 0x10 },
                    payload: u32::try_from(data.len()).unwrap(),
                });
                let builder = builder.tcp(source, destination, sequence, 1024).ack(acknowledgment);
                let builder = if is_reset { builder.rst() } else { builder };
                builder.write(&mut bytes, data).unwrap();
            }
            Above::Echo(identifier) => {
                headers.protocol = IpProtocol::ICMPV4;
                headers.destination_port = 8 << 8;
                builder.icmpv4_echo_request(identifier, 1).write(&mut bytes, data).unwrap();
            }
            Above::Other(number) => {
                headers.protocol = IpProtocol(number);
                builder.write(&mut bytes, IpNumber(number), data).unwrap();
            }
        }
        (link_type, bytes, headers)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            link_type in prop_oneof![0..300_u16, Just(1), Just(113), Just(127)],
            wire_length in any::<u32>(),
            bytes in vec(any::<u8>(), 0..200),
        ) {
            for tunnels in [Tunnels::Outer, Tunnels::Inner] {
                let packet = Packet { wire_length, ..packet(LinkType(link_type), &bytes) };
                let read = decode(&packet, tunnels);
                if let Ok(headers) = read {
                    prop_assert_eq!(headers.source.is_ipv4(), headers.destination.is_ipv4());
                    prop_assert!(bytes.len() >= 20);
                }
            }
        }

        #[test]
        fn a_packet_is_what_it_was_made_of(
            (before, addresses, above) in (before(), addresses(), above()),
            data in vec(any::<u8>(), 0..100),
            padding in 0..20_usize,
        ) {
            let (link_type, mut bytes, headers) = build(before, addresses, above, &data);
            bytes.resize(bytes.len() + padding, 0);
            prop_assert_eq!(decode(&packet(link_type, &bytes), Tunnels::Outer), Ok(headers));
        }

        #[test]
        fn what_is_read_at_once_is_what_is_read_header_by_header(
            (before, addresses, above) in (before(), addresses(), above()),
            data in vec(any::<u8>(), 0..40),
            changes in vec((0..60_usize, any::<u8>()), 0..4),
            captured in 0..120_usize,
            wire_length in prop_oneof![0..120_u32, any::<u32>()],
        ) {
            let (link_type, mut bytes, _) = build(before, addresses, above, &data);
            for (place, byte) in changes {
                if let Some(changed) = bytes.get_mut(place) {
                    *changed = byte;
                }
            }
            bytes.resize(bytes.len() + 6, 0);
            bytes.truncate(captured);
            let packet = Packet { wire_length, ..packet(link_type, &bytes) };
            for tunnels in [Tunnels::Outer, Tunnels::Inner] {
                prop_assert_eq!(decode(&packet, tunnels), decode_any(&packet, tunnels));
            }
        }

        #[test]
        fn what_the_first_bytes_tell_all_of_them_tell(
            (before, addresses, above) in (before(), addresses(), above()),
            is_ipv6 in any::<bool>(),
            around in select(vec![0_u8, 1, 4, 41, 43, 44, 47, 51, 58, 60, 132, 137]),
            is_inside in any::<bool>(),
            data in vec(any::<u8>(), 0..60),
            changes in vec((0..120_usize, any::<u8>()), 0..4),
            shown in 20..140_usize,
            more_on_wire in prop_oneof![Just(0), 0..100_usize],
        ) {
            let (mut link_type, mut bytes, _) = build(before, addresses, above, &data);
            if is_inside {
                let (_, inner, _) = build(Before::Nothing, addresses, above, &data);
                let outer = if is_ipv6 { samples::ipv6 } else { samples::ipv4 };
                (link_type, bytes) = (LinkType::RAW, outer(around, &inner));
            }
            for (place, byte) in changes {
                if let Some(changed) = bytes.get_mut(place) {
                    *changed = byte;
                }
            }
            let wire_length = u32::try_from(bytes.len() + more_on_wire).unwrap();
            let whole = Packet { wire_length, ..packet(link_type, &bytes) };
            let head = Packet { bytes: &bytes[..shown.min(bytes.len())], ..whole };
            for tunnels in [Tunnels::Outer, Tunnels::Inner] {
                let told = [decode_head(&head, tunnels), decode_common(&head, tunnels).map(Ok)];
                for told in told.into_iter().flatten() {
                    prop_assert_eq!(told, decode(&whole, tunnels));
                }
            }
        }

        #[test]
        fn a_head_tells_of_packets_what_most_have(
            addresses in addresses(),
            above in above(),
            data in vec(any::<u8>(), 40..60),
        ) {
            let (link_type, bytes, headers) = build(Before::Tag(5), addresses, above, &data);
            let head = Packet { bytes: &bytes[..73], ..packet(link_type, &bytes) };
            let has_port = !matches!(above, Above::Udp(_, 0));
            prop_assert_eq!(decode_head(&head, Tunnels::Outer), has_port.then_some(Ok(headers)));
        }

        #[test]
        fn a_head_tells_of_tunnels_that_they_are(
            is_ipv6 in any::<bool>(),
            tunnel in select(vec![4_u8, 41, 47, 50, 137]),
            data in vec(any::<u8>(), 40..60),
        ) {
            let datagram = if is_ipv6 { samples::ipv6 } else { samples::ipv4 };
            let bytes = datagram(tunnel, &data);
            let whole = packet(LinkType::RAW, &bytes);
            let head = Packet { bytes: &bytes[..40], ..whole };
            let headers = decode(&whole, Tunnels::Outer);
            prop_assert_eq!(decode_head(&head, Tunnels::Outer), Some(headers));
            prop_assert_eq!(decode_head(&head, Tunnels::Inner), None);
        }

        #[test]
        fn a_head_tells_what_is_not_of_ip(
            ether_type in select(vec![1501_u16, 0x0806, 0x8809, 0x888e, 0x88a2, 0x88cc]),
            data in vec(any::<u8>(), 60..90),
        ) {
            let bytes = samples::ethernet(ether_type, &data);
            let head = Packet { bytes: &bytes[..60], ..packet(LinkType::ETHERNET, &bytes) };
            let not_ip = Some(Err(Undecodable::NotIp));
            prop_assert_eq!(decode_head(&head, Tunnels::Outer), not_ip);
        }

        #[test]
        fn most_packets_are_read_at_once(
            (addresses, above) in (addresses(), above()),
            data in vec(any::<u8>(), 6..40),
        ) {
            let (link_type, bytes, headers) = build(Before::Ethernet, addresses, above, &data);
            let is_common = !matches!(above, Above::Other(_));
            let packet = packet(link_type, &bytes);
            prop_assert_eq!(decode_most(&packet, Tunnels::Outer), is_common.then_some(headers));
            let is_ipv4 = matches!(addresses, Addresses::V4(..));
            let read = decode_common(&packet, Tunnels::Outer);
            prop_assert_eq!(read, (is_common && is_ipv4).then_some(headers));
        }

        #[test]
        fn a_cut_packet_is_the_same_as_far_as_it_goes(
            (before, addresses, above) in (before(), addresses(), above()),
            data in vec(any::<u8>(), 0..40),
        ) {
            let (link_type, bytes, whole) = build(before, addresses, above, &data);
            let wire_length = u32::try_from(bytes.len()).unwrap();
            let mut last = Err(Malformed::Truncated.into());
            for length in 0..=bytes.len() {
                let packet = Packet { wire_length, ..packet(link_type, &bytes[..length]) };
                let cut = decode(&packet, Tunnels::Outer);
                match (last, cut) {
                    (Ok(_), Err(_)) => prop_assert!(false, "more bytes tell less"),
                    (_, Err(refused)) => prop_assert_eq!(refused, Malformed::Truncated.into()),
                    (_, Ok(cut)) => {
                        prop_assert_eq!(cut.source, whole.source);
                        prop_assert_eq!(cut.destination, whole.destination);
                        prop_assert_eq!(cut.protocol, whole.protocol);
                        prop_assert!([0, whole.source_port].contains(&cut.source_port));
                        prop_assert!([0, whole.destination_port].contains(&cut.destination_port));
                        prop_assert!(cut.tcp.is_none() || cut.tcp == whole.tcp);
                    }
                }
                last = cut;
            }
            prop_assert_eq!(last, Ok(whole));
        }
    }
}
