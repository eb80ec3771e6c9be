//! Ethernet frames of made-up conversations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder,
    PacketBuilderStep, TcpHeader, VlanId,
};

/// The shortest frame of Ethernet, without its check sequence.
pub(crate) const SHORTEST: usize = 60;

/// Those of no real device: bit 1 of the first byte says that they are given locally.
const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HOPS: u8 = 64;

/// A packet of a conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) vlan: Option<u16>,
    pub(crate) transport: Transport,
    pub(crate) payload: &'a [u8],
}

/// What carries the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp(Segment, Numbers),
    /// ICMP of the addresses' version; ports are of no matter.
    Echo(Echo),
}

/// What a segment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
}

/// Where a segment is in its stream, and which octet of the other one is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    Request,
    Reply,
}

impl Packet<'_> {
    /// Makes it the content of `frame`, with valid checksums.
    pub(crate) fn write(&self, frame: &mut Vec<u8>) -> Result<()> {
        frame.clear();
        let ethernet = PacketBuilder::ethernet2(NEAR, FAR);
        let internet = match self.vlan {
            None => ethernet.ip(self.addresses()?),
            Some(id) => ethernet.single_vlan(VlanId::try_new(id)?).ip(self.addresses()?),
        };
        self.write_transport(internet, frame).context("making a frame")?;
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0);
        }
        Ok(())
    }

    fn addresses(&self) -> Result<IpHeaders> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                // The builder sets the length and the protocol.
                let header = Ipv4Header::new(0, HOPS, IpNumber::UDP, from, to)?;
                Ok(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header {
                    hop_limit: HOPS,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                Ok(IpHeaders::Ipv6(header, Ipv6Extensions::default()))
            }
            (from, to) => bail!("{from} and {to} are not of one version"),
        }
    }

    fn write_transport(
        &self,
        internet: PacketBuilderStep<IpHeaders>,
        frame: &mut Vec<u8>,
    ) -> Result<()> {
        let (from, to) = (self.from.port(), self.to.port());
        match self.transport {
            Transport::Udp => internet.udp(from, to).write(frame, self.payload)?,
            Transport::Tcp(segment, numbers) => {
                let header = segment.header(from, to, numbers);
                internet.tcp_header(header).write(frame, self.payload)?;
            }
            Transport::Echo(echo) => match (self.from.ip(), echo) {
                (IpAddr::V4(_), Echo::Request) => {
                    internet.icmpv4_echo_request(from, to).write(frame, self.payload)?;
                }
                (IpAddr::V4(_), Echo::Reply) => {
                    internet.icmpv4_echo_reply(to, from).write(frame, self.payload)?;
                }
                (IpAddr::V6(_), Echo::Request) => {
                    internet.icmpv6_echo_request(from, to).write(frame, self.payload)?;
                }
                (IpAddr::V6(_), Echo::Reply) => {
                    internet.icmpv6_echo_reply(to, from).write(frame, self.payload)?;
                }
            },
        }
        Ok(())
    }
}

impl Segment {
    fn header(self, from: u16, to: u16, numbers: Numbers) -> TcpHeader {
        let mut header = TcpHeader::new(from, to, numbers.sequence, u16::MAX);
        header.syn = matches!(self, Self::Syn | Self::SynAck);
        header.ack = self != Self::Syn;
        header.acknowledgment_number = if header.ack { numbers.acknowledgment } else { 0 };
        header.psh = self == Self::Data;
        header.fin = self == Self::Fin;
        header
    }
}

/// The `index`th address of a network of clients or servers.
pub(crate) fn address_v4(network: Ipv4Addr, index: u32) -> IpAddr {
    Ipv4Addr::from_bits(network.to_bits() | index).into()
}

/// The same for IPv6.
pub(crate) fn address_v6(network: Ipv6Addr, index: u32) -> IpAddr {
    Ipv6Addr::from_bits(network.to_bits() | u128::from(index)).into()
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn frame(transport: Transport, version: u8, vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
        let ends = match version {
            4 => ["10.0.0.1:1000", "10.0.0.2:53"],
            _ => ["[fd00::1]:1000", "[fd00::2]:53"],
        };
        let [from, to] = ends.map(|end| end.parse().unwrap());
        let mut frame = vec![1; 3];
        Packet { from, to, vlan, transport, payload }.write(&mut frame).unwrap();
        frame
    }

    #[test]
    fn a_short_frame_is_filled_up() {
        let numbers = Numbers { sequence: 1, acknowledgment: 2 };
        let frame = frame(Transport::Tcp(Segment::SynAck, numbers), 4, None, &[]);
        assert_eq!(frame.len(), SHORTEST);
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        assert!(tcp.syn() && tcp.ack() && tcp.payload().is_empty());
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (1, 2));
        let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!("{:?}", sliced.net) };
        assert_eq!(
            tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), &[]),
            Ok(tcp.checksum())
        );
    }

    #[test]
    fn a_frame_of_ipv6_has_its_tag_and_payload() {
        let frame = frame(Transport::Udp, 6, Some(7), b"payload");
        assert_eq!(frame.len(), 14 + 4 + 40 + 8 + 7);
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((udp.source_port(), udp.payload()), (1000, &b"payload"[..]));
        assert_eq!(sliced.vlan_ids().len(), 1);
    }

    #[test]
    fn an_echo_is_of_the_version_of_its_addresses() {
        let of = |version| frame(Transport::Echo(Echo::Request), version, None, &[0; 8]);
        let (v4, v6) = (of(4), of(6));
        let v4 = SlicedPacket::from_ethernet(&v4).unwrap();
        assert!(matches!(v4.transport, Some(TransportSlice::Icmpv4(_))));
        let v6 = SlicedPacket::from_ethernet(&v6).unwrap();
        assert!(matches!(v6.transport, Some(TransportSlice::Icmpv6(_))));
    }
}
