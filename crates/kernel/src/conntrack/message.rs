//! `IPCTNL_MSG_CT_*` of `linux/netfilter/nfnetlink_conntrack.h`, as bytes.

use std::net::IpAddr;

use netglass_model::{Endpoint, Protocol, Route};

use crate::{address::parse_octets, netlink::message::Attributes};

/// The length of `struct nfgenmsg`.
pub(super) const HEADER_LENGTH: usize = 4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;

const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;

const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;

const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// One direction of a tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To whom.
    pub destination: IpAddr,
    /// To which port.
    pub destination_port: u16,
}

/// A connection as the kernel tracks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What tells it from others of the same ports, with them (`CTA_ID`).
    pub id: u32,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What the client sends, as it comes in.
    pub original: Tuple,
    /// What the server answers, as it comes in.
    pub reply: Tuple,
}

impl Entry {
    /// Who connects to what, as the client's side and as the server's side sees it; `None` where
    /// both are the same.
    #[must_use]
    pub fn translation(&self) -> Option<(Route, Route)> {
        let route =
            |client, server, port| Route { client, server: Endpoint::numbered(server, port) };
        let Self { original, reply, .. } = self;
        let original = route(original.source, original.destination, original.destination_port);
        let translated = route(reply.destination, reply.source, reply.source_port);
        (original != translated).then_some((original, translated))
    }
}

/// A message that is none of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads a message that tells of a connection; `None` where it is neither of TCP nor of UDP.
pub fn parse(payload: &[u8]) -> Result<Option<Entry>, Malformed> {
    let (mut id, mut original, mut reply) = (0, None, None);
    for (kind, value) in Attributes::new(payload.get(HEADER_LENGTH..).ok_or(Malformed)?) {
        match kind {
            CTA_TUPLE_ORIG => original = Some(value),
            CTA_TUPLE_REPLY => reply = Some(value),
            CTA_ID => id = value.first_chunk().copied().map_or(0, u32::from_be_bytes),
            _ => {}
        }
    }
    let (original, reply) = (original.ok_or(Malformed)?, reply.ok_or(Malformed)?);
    let Some((protocol, original)) = tuple(original)? else { return Ok(None) };
    let Some((of_reply, reply)) = tuple(reply)? else { return Ok(None) };
    if of_reply != protocol {
        return Err(Malformed);
    }
    Ok(Some(Entry { id, protocol, original, reply }))
}

fn tuple(bytes: &[u8]) -> Result<Option<(Protocol, Tuple)>, Malformed> {
    let (mut source, mut destination) = (None, None);
    let (mut number, mut source_port, mut destination_port) = (None, None, None);
    for (kind, value) in Attributes::new(bytes) {
        for (kind, value) in Attributes::new(value).map(|(inner, value)| ((kind, inner), value)) {
            match kind {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => source = parse_octets(value),
                (CTA_TUPLE_IP, CTA_IP_V4_DST | CTA_IP_V6_DST) => destination = parse_octets(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => number = value.first().copied(),
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => source_port = port(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => destination_port = port(value),
                _ => {}
            }
        }
    }
    let Some(protocol) = Protocol::from_number(number.ok_or(Malformed)?) else { return Ok(None) };
    let tuple = Tuple {
        source: source.ok_or(Malformed)?,
        source_port: source_port.ok_or(Malformed)?,
        destination: destination.ok_or(Malformed)?,
        destination_port: destination_port.ok_or(Malformed)?,
    };
    Ok(Some((protocol, tuple)))
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn octets(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    fn write_tuple(kind: u16, protocol: u8, tuple: &Tuple) -> Vec<u8> {
        let (from, to) = if tuple.source.is_ipv4() {
            (CTA_IP_V4_SRC, CTA_IP_V4_DST)
        } else {
            (CTA_IP_V6_SRC, CTA_IP_V6_DST)
        };
        let addresses =
            [attribute(from, &octets(tuple.source)), attribute(to, &octets(tuple.destination))];
        let ports = [
            attribute(CTA_PROTO_NUM, &[protocol]),
            attribute(CTA_PROTO_SRC_PORT, &tuple.source_port.to_be_bytes()),
            attribute(CTA_PROTO_DST_PORT, &tuple.destination_port.to_be_bytes()),
        ];
        let parts = [
            attribute(CTA_TUPLE_IP | 0x8000, &addresses.concat()),
            attribute(CTA_TUPLE_PROTO | 0x8000, &ports.concat()),
        ];
        attribute(kind | 0x8000, &parts.concat())
    }

    fn write(entry: &Entry, protocol: u8) -> Vec<u8> {
        [
            vec![2, 0, 0, 0],
            write_tuple(CTA_TUPLE_ORIG, protocol, &entry.original),
            write_tuple(CTA_TUPLE_REPLY, protocol, &entry.reply),
            attribute(CTA_ID, &entry.id.to_be_bytes()),
        ]
        .concat()
    }

    fn tuple_of(source: &str, destination: &str) -> Tuple {
        let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
        let (source, destination) = (end(source), end(destination));
        Tuple {
            source: source.ip(),
            source_port: source.port(),
            destination: destination.ip(),
            destination_port: destination.port(),
        }
    }

    fn sample() -> Entry {
        Entry {
            id: 7,
            protocol: Protocol::Tcp,
            original: tuple_of("10.0.0.1:40000", "10.0.0.9:80"),
            reply: tuple_of("10.1.0.2:8080", "10.1.0.1:1024"),
        }
    }

    #[test]
    fn both_tuples_are_what_each_side_sees() {
        let entry = parse(&write(&sample(), 6)).unwrap().unwrap();
        assert_eq!(entry, sample());
        let (original, translated) = entry.translation().unwrap();
        assert_eq!(original.client.to_string(), "10.0.0.1");
        assert_eq!(original.server.to_string(), "10.0.0.9:80");
        assert_eq!(translated.client.to_string(), "10.1.0.1");
        assert_eq!(translated.server.to_string(), "10.1.0.2:8080");
    }

    #[test]
    fn the_plain_reverse_is_no_translation_nor_is_another_port_of_the_client() {
        let original = tuple_of("10.0.0.1:40000", "10.0.0.9:80");
        for reply in ["10.0.0.1:40000", "10.0.0.1:1024"] {
            let reply = tuple_of("10.0.0.9:80", reply);
            assert_eq!(Entry { original, reply, ..sample() }.translation(), None);
        }
    }

    #[test]
    fn other_protocols_are_passed_over_and_what_is_cut_is_malformed() {
        let whole = write(&sample(), 6);
        assert_eq!(parse(&write(&sample(), 132)), Ok(None));
        for length in 0..whole.len() - 8 {
            assert_eq!(parse(&whole[..length]), Err(Malformed), "{length}");
        }
    }

    fn any_tuple(v4: bool) -> impl Strategy<Value = Tuple> {
        let address = move || {
            any::<[u8; 16]>().prop_map(move |octets| {
                if v4 {
                    IpAddr::from(*octets.first_chunk::<4>().unwrap())
                } else {
                    IpAddr::from(octets).to_canonical()
                }
            })
        };
        (address(), any::<u16>(), address(), any::<u16>()).prop_map(
            |(source, source_port, destination, destination_port)| Tuple {
                source,
                source_port,
                destination,
                destination_port,
            },
        )
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            (original, reply) in any::<bool>().prop_flat_map(|v4| (any_tuple(v4), any_tuple(v4))),
            id in any::<u32>(),
            udp in any::<bool>(),
        ) {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let entry = Entry { id, protocol, original, reply };
            prop_assert_eq!(parse(&write(&entry, protocol.number())), Ok(Some(entry)));
        }
    }
}
