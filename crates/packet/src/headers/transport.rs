//! The headers above IP: those of TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260) and ICMP (RFC 792,
//! RFC 4443), as far as flows are told apart by them.

use netglass_model::IpProtocol;

use super::{Headers, TcpSegment, ip::Datagram, rest::Rest};

/// A header of TCP without options.
const TCP_HEADER_LENGTH: usize = 20;

/// The headers of a datagram.
#[inline]
pub(super) fn headers(datagram: &Datagram<'_>) -> Headers {
    let mut headers = Headers {
        source: datagram.source,
        destination: datagram.destination,
        protocol: datagram.protocol,
        source_port: 0,
        destination_port: 0,
        fragment: datagram.fragment,
        tcp: None,
    };
    if datagram.is_later_fragment() {
        return headers;
    }
    match datagram.protocol {
        IpProtocol::TCP => {
            (headers.source_port, headers.destination_port) = ports(datagram.payload);
            headers.tcp = tcp(datagram.payload);
        }
        IpProtocol::UDP | IpProtocol::SCTP => {
            (headers.source_port, headers.destination_port) = ports(datagram.payload);
        }
        IpProtocol::ICMPV4 | IpProtocol::ICMPV6 => {
            // The type and the code are where a source port would be.
            (headers.destination_port, _) = ports(datagram.payload);
        }
        _ => {}
    }
    headers
}

/// The two numbers that these headers begin with, as far as they were captured.
#[inline]
fn ports(header: Rest<'_>) -> (u16, u16) {
    match *header.captured {
        [source_0, source_1, destination_0, destination_1, ..] => (
            u16::from_be_bytes([source_0, source_1]),
            u16::from_be_bytes([destination_0, destination_1]),
        ),
        [source_0, source_1, ..] => (u16::from_be_bytes([source_0, source_1]), 0),
        _ => (0, 0),
    }
}

/// A header of TCP, if what was captured of it reaches to the flags. The first fragment of a datagram
/// may have less than all of it.
#[inline]
fn tcp(header: Rest<'_>) -> Option<TcpSegment> {
    let &[
        _,
        _,
        _,
        _,
        sequence_0,
        sequence_1,
        sequence_2,
        sequence_3,
        acknowledgment_0,
        acknowledgment_1,
        acknowledgment_2,
        acknowledgment_3,
        offset,
        flags,
    ] = header.peek().ok()?;
    let header_length = usize::from(offset >> 4) * 4;
    if header_length < TCP_HEADER_LENGTH {
        return None;
    }
    let payload = header.length().saturating_sub(header_length);
    Some(TcpSegment {
        sequence: u32::from_be_bytes([sequence_0, sequence_1, sequence_2, sequence_3]),
        acknowledgment: u32::from_be_bytes([
            acknowledgment_0,
            acknowledgment_1,
            acknowledgment_2,
            acknowledgment_3,
        ]),
        flags,
        payload: u32::try_from(payload).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ipv4, ipv6, outer, packet, udp_headers};
    use super::super::{Tunnels, decode};
    use super::*;
    use crate::{LinkType, Packet};

    fn of(protocol: u8, payload: &[u8]) -> Headers {
        outer(LinkType::RAW, &ipv4(protocol, payload)).unwrap()
    }

    /// From port 443 to port 50000, acknowledging with data, a header of 24 bytes.
    fn tcp(data: usize) -> Vec<u8> {
        let fixed = [1, 0xbb, 0xc3, 0x50, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x18];
        [&fixed[..], &[0; 10], &vec![9; data]].concat()
    }

    #[test]
    fn a_segment_tells_what_a_connections_state_depends_on() {
        let headers = of(6, &tcp(100));
        assert_eq!((headers.source_port, headers.destination_port), (443, 50000));
        let (sequence, acknowledgment) = (0x0102_0304, 0x0506_0708);
        let expected = TcpSegment { sequence, acknowledgment, flags: 0x18, payload: 100 };
        assert_eq!(headers.tcp, Some(expected));
    }

    #[test]
    fn the_payload_is_that_on_the_wire() {
        let bytes = ipv4(6, &tcp(1000));
        for captured in [34, 44, 500] {
            let cut = Packet { wire_length: 1044, ..packet(LinkType::RAW, &bytes[..captured]) };
            let headers = decode(&cut, Tunnels::Outer).unwrap();
            assert_eq!(headers.tcp.unwrap().payload, 1000);
        }
        let cut = Packet { wire_length: 1044, ..packet(LinkType::RAW, &bytes[..33]) };
        let headers = decode(&cut, Tunnels::Outer).unwrap();
        assert_eq!((headers.destination_port, headers.tcp), (50000, None));
    }

    #[test]
    fn a_header_that_is_shorter_than_itself_has_ports_only() {
        let mut bytes = tcp(0);
        bytes[12] = 0x40;
        assert_eq!(of(6, &bytes).tcp, None);
        assert_eq!(of(6, &bytes).source_port, 443);
    }

    #[test]
    fn icmp_has_its_type_and_code_for_a_port() {
        let unreachable = [3, 1, 0, 0, 0, 0, 0, 0];
        let headers = of(1, &unreachable);
        assert_eq!((headers.source_port, headers.destination_port), (0, 3 * 256 + 1));
        let solicitation = outer(LinkType::RAW, &ipv6(58, &[135, 0, 0, 0])).unwrap();
        assert_eq!((solicitation.source_port, solicitation.destination_port), (0, 135 * 256));
        assert_eq!(of(1, &[3]).destination_port, 0);
    }

    #[test]
    fn sctp_has_ports_and_other_protocols_have_none() {
        let headers = of(132, &[0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 0]);
        assert_eq!((headers.source_port, headers.destination_port), (2905, 2906));
        for protocol in [2, 50, 89, 103, 255] {
            let protocol_only = IpProtocol(protocol);
            let expected = Headers {
                protocol: protocol_only,
                source_port: 0,
                destination_port: 0,
                ..udp_headers()
            };
            assert_eq!(of(protocol, &[1; 40]), expected);
        }
    }
}
