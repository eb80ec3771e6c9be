//! IPv4 (RFC 791).

use std::net::{IpAddr, Ipv4Addr};

use netglass_model::IpProtocol;

use super::{Decoded, Fragment, Malformed, ip::Datagram, rest::Rest};

const HEADER_LENGTH: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// A datagram.
#[inline]
pub(super) fn datagram(rest: Rest<'_>) -> Decoded {
    let header = rest.peek::<HEADER_LENGTH>()?;
    let &[
        version_and_length,
        _,
        total_0,
        total_1,
        identification_0,
        identification_1,
        fragment_0,
        fragment_1,
        _,
        protocol,
        _,
        _,
        ref addresses @ ..,
    ] = header;
    if version_and_length >> 4 != 4 {
        return Err(Malformed::Version.into());
    }
    let header_length = usize::from(version_and_length & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([total_0, total_1]));
    if header_length < HEADER_LENGTH {
        return Err(Malformed::Length.into());
    }
    let rest = match total_length {
        // What the network card cuts into packets, or what is longer than the field can say.
        0 => rest,
        _ if total_length < header_length => return Err(Malformed::Length.into()),
        _ => rest.limit(total_length),
    };
    let &[s_0, s_1, s_2, s_3, d_0, d_1, d_2, d_3] = addresses;
    let datagram = Datagram {
        source: IpAddr::V4(Ipv4Addr::new(s_0, s_1, s_2, s_3)),
        destination: IpAddr::V4(Ipv4Addr::new(d_0, d_1, d_2, d_3)),
        protocol: IpProtocol(protocol),
        fragment: fragment(
            u16::from_be_bytes([identification_0, identification_1]),
            u16::from_be_bytes([fragment_0, fragment_1]),
        ),
        payload: rest.skip(header_length),
    };
    Ok(datagram.headers())
}

#[inline]
fn fragment(identification: u16, flags_and_offset: u16) -> Option<Fragment> {
    if flags_and_offset & (MORE_FRAGMENTS | FRAGMENT_OFFSET) == 0 {
        return None;
    }
    Some(Fragment {
        identification: identification.into(),
        offset: (flags_and_offset & FRAGMENT_OFFSET) << 3,
        more: flags_and_offset & MORE_FRAGMENTS != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ipv4, outer, packet, udp_headers};
    use super::super::{Headers, Tunnels, decode};
    use super::*;
    use crate::{LinkType, Packet};

    fn of(bytes: &[u8]) -> Decoded {
        outer(LinkType::IPV4, bytes)
    }

    fn without_ports() -> Headers {
        Headers { source_port: 0, destination_port: 0, ..udp_headers() }
    }

    #[test]
    fn ports_are_behind_the_options() {
        let mut bytes = ipv4(17, &[&[1; 8][..], &UDP].concat());
        bytes[0] = 0x47;
        assert_eq!(of(&bytes), Ok(udp_headers()));
        assert_eq!(of(&bytes[..24]), Ok(without_ports()), "cut among them");
    }

    #[test]
    fn a_packet_is_one_of_a_flow_as_soon_as_its_addresses_were_captured() {
        let bytes = ipv4(17, &UDP);
        assert_eq!(of(&bytes[..19]), Err(Malformed::Truncated.into()));
        assert_eq!(of(&bytes[..20]), Ok(without_ports()));
        assert_eq!(of(&bytes[..22]), Ok(Headers { source_port: 1000, ..without_ports() }));
        assert_eq!(of(&bytes[..24]), Ok(udp_headers()));
    }

    #[test]
    fn lengths_that_contradict_themselves_are_refused() {
        let mut bytes = ipv4(17, &UDP);
        bytes[0] = 0x44;
        assert_eq!(of(&bytes), Err(Malformed::Length.into()));
        let mut bytes = ipv4(17, &UDP);
        bytes[3] = 19;
        assert_eq!(of(&bytes), Err(Malformed::Length.into()));
    }

    #[test]
    fn what_is_behind_the_total_length_is_not_of_the_packet() {
        let mut bytes = ipv4(17, &UDP);
        bytes[3] = 22;
        assert_eq!(of(&bytes), Ok(Headers { source_port: 1000, ..without_ports() }));
    }

    #[test]
    fn a_total_length_of_zero_is_that_on_the_wire() {
        let tcp = [&[0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10][..], &[0; 6]].concat();
        let mut bytes = ipv4(6, &tcp);
        bytes[2..4].fill(0);
        let whole = Packet { wire_length: 70_000, ..packet(LinkType::IPV4, &bytes) };
        let segment = decode(&whole, Tunnels::Outer).unwrap().tcp.unwrap();
        assert_eq!(segment.payload, 70_000 - 40);
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let mut bytes = ipv4(17, &UDP);
        bytes[6..8].copy_from_slice(&[0x20, 0]);
        let first = Fragment { identification: 7, offset: 0, more: true };
        assert_eq!(of(&bytes), Ok(Headers { fragment: Some(first), ..udp_headers() }));
        bytes[6..8].copy_from_slice(&[0, 185]);
        let last = Fragment { identification: 7, offset: 1480, more: false };
        assert_eq!(of(&bytes), Ok(Headers { fragment: Some(last), ..without_ports() }));
        bytes[6..8].copy_from_slice(&[0x40, 0]);
        assert_eq!(of(&bytes), Ok(udp_headers()), "not to be fragmented is not a fragment");
    }
}
