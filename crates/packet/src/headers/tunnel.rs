//! Tunnels: GRE (RFC 2784, 2890, 8086, and 2637 of PPTP), VXLAN (RFC 7348), Geneve (RFC 8926), IP and
//! MPLS in IP (RFC 2003, 2473, 4213, 4023, 7510).

use netglass_model::IpProtocol;

use super::{Decoded, Headers, Malformed, Undecodable, ethernet, ipv4, ipv6, mpls, rest::Rest};

const IPV4: IpProtocol = IpProtocol(4);
const IPV6: IpProtocol = IpProtocol(41);
const GRE: IpProtocol = IpProtocol(47);
const MPLS: IpProtocol = IpProtocol(137);

const GRE_PORT: u16 = 4754;
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;
const MPLS_PORT: u16 = 6635;

/// The flags of GRE.
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;
/// Web Cache Communication Protocol: its version 2 has four bytes before the IP header.
const REDIRECTED: u16 = 0x883e;
/// Frames mirrored to somewhere else: ERSPAN, type I without sequence numbers and II with them.
const MIRRORED: u16 = 0x88be;
/// ERSPAN, type III.
const MIRRORED_3: u16 = 0x22eb;

/// What goes through the tunnel that a datagram of a protocol is, if it can be told.
pub(super) fn inside(protocol: IpProtocol, payload: Rest<'_>) -> Option<Headers> {
    let payload = payload.deeper().ok()?;
    let inner = match protocol {
        IPV4 => ipv4::datagram(payload),
        IPV6 => ipv6::datagram(payload),
        MPLS => mpls::stack(payload),
        GRE => gre(payload),
        IpProtocol::UDP => udp(payload),
        _ => return None,
    };
    inner.ok()
}

fn gre(rest: Rest<'_>) -> Decoded {
    let (&[flags_0, flags_1, type_0, type_1], mut rest) = rest.split::<4>()?;
    let flags = u16::from_be_bytes([flags_0, flags_1]);
    let has_acknowledgment = match flags & VERSION {
        0 => false,
        1 => flags & ACKNOWLEDGMENT != 0,
        _ => return Err(Undecodable::NotIp),
    };
    let optional = [
        // With either one there is room for both.
        flags & (CHECKSUM | ROUTING) != 0,
        flags & KEY != 0,
        flags & SEQUENCE != 0,
        has_acknowledgment,
    ];
    for _ in optional.into_iter().filter(|is_there| *is_there) {
        rest = rest.skip(4);
    }
    if flags & ROUTING != 0 {
        rest = behind_source_routes(rest)?;
    }
    match u16::from_be_bytes([type_0, type_1]) {
        REDIRECTED => {
            let &[first] = rest.peek::<1>()?;
            ipv4::datagram(if first >> 4 == 4 { rest } else { rest.skip(4) })
        }
        MIRRORED => ethernet::frame(if flags & SEQUENCE == 0 { rest } else { rest.skip(8) }),
        MIRRORED_3 => {
            let (&[.., last], rest) = rest.split::<12>()?;
            // The lowest bit says whether there is more of the header.
            ethernet::frame(if last & 1 == 0 { rest } else { rest.skip(8) })
        }
        number => ethernet::ether_type(number, rest),
    }
}

/// Source route entries (RFC 1701): family, offset, length, and the last one has none.
fn behind_source_routes(mut rest: Rest<'_>) -> Result<Rest<'_>, Malformed> {
    loop {
        let (&[family_0, family_1, _, length], behind) = rest.split::<4>()?;
        rest = behind.skip(length.into());
        if [family_0, family_1, length] == [0; 3] {
            return Ok(rest);
        }
    }
}

fn udp(rest: Rest<'_>) -> Decoded {
    let (&[_, _, port_0, port_1, ..], rest) = rest.split::<8>()?;
    match u16::from_be_bytes([port_0, port_1]) {
        GRE_PORT => gre(rest),
        MPLS_PORT => mpls::stack(rest),
        VXLAN_PORT => match rest.split::<8>()? {
            // The flag of an identifier, without which it is not one of VXLAN.
            (&[flags, ..], rest) if flags & 0x08 != 0 => ethernet::frame(rest),
            _ => Err(Undecodable::NotIp),
        },
        GENEVE_PORT => geneve(rest),
        _ => Err(Undecodable::NotIp),
    }
}

fn geneve(rest: Rest<'_>) -> Decoded {
    let (&[version_and_length, _, type_0, type_1, ..], rest) = rest.split::<8>()?;
    if version_and_length >> 6 != 0 {
        return Err(Undecodable::NotIp);
    }
    let options = usize::from(version_and_length & 0x3f) * 4;
    ethernet::ether_type(u16::from_be_bytes([type_0, type_1]), rest.skip(options))
}

#[cfg(test)]
mod tests {
    use super::super::Fragment;
    use super::super::samples::{
        UDP, ethernet, inner, ipv4, ipv6, outer, udp_headers, udp_headers_6,
    };
    use super::*;
    use crate::LinkType;

    /// What counts of a packet of IPv6 with a payload, by either reading.
    fn of(protocol: IpProtocol, payload: &[u8]) -> (Headers, Headers) {
        let bytes = ipv6(protocol.0, payload);
        (outer(LinkType::RAW, &bytes).unwrap(), inner(LinkType::RAW, &bytes).unwrap())
    }

    fn assert_looked_into(protocol: IpProtocol, payload: &[u8]) {
        let (outer, inner) = of(protocol, payload);
        assert_eq!((outer.source, outer.protocol), (udp_headers_6().source, protocol));
        assert_eq!(inner, udp_headers(), "{payload:x?}");
    }

    fn assert_not_looked_into(protocol: IpProtocol, payload: &[u8]) {
        let (outer, inner) = of(protocol, payload);
        assert_eq!(outer, inner, "{payload:x?}");
    }

    fn to_port(port: u16, payload: &[u8]) -> Vec<u8> {
        [&[0xc0, 1][..], &port.to_be_bytes(), &[0; 4], payload].concat()
    }

    #[test]
    fn ip_and_mpls_in_ip() {
        let ip = ipv4(17, &UDP);
        assert_looked_into(IPV4, &ip);
        assert_looked_into(IPV6, &ipv6(4, &ip));
        assert_looked_into(MPLS, &[&[0, 1, 0x41, 64][..], &ip].concat());
        assert_looked_into(IpProtocol::UDP, &to_port(6635, &[&[0, 1, 0x41, 64][..], &ip].concat()));
    }

    #[test]
    fn gre_with_any_of_its_fields() {
        let ip = ipv4(17, &UDP);
        let route = [&[8, 0, 0, 4][..], &[1, 2, 3, 4], &[0; 4]].concat();
        for (flags, fields) in [
            (0, &[][..]),
            (CHECKSUM, &[0; 4]),
            (KEY, &[0; 4]),
            (CHECKSUM | KEY | SEQUENCE, &[0; 12]),
            (ROUTING | KEY, &[&[0; 8][..], &route].concat()),
        ] {
            let header = [&flags.to_be_bytes()[..], &[0x08, 0x00], fields].concat();
            let payload = [&header[..], &ip].concat();
            assert_looked_into(GRE, &payload);
            assert_looked_into(IpProtocol::UDP, &to_port(4754, &payload));
        }
        assert_not_looked_into(GRE, &[&[0, 2, 8, 0][..], &ip].concat());
    }

    #[test]
    fn gre_carries_frames_and_ppp() {
        let ip = ipv4(17, &UDP);
        let frame = ethernet(0x0800, &ip);
        for (header, payload) in [
            (&[0, 0, 0x65, 0x58][..], &frame),
            (&[0, 0, 0x88, 0xbe], &frame),
            (&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0], &frame),
            (&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &frame),
            (&[0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], &ip),
            (&[0, 0, 0x88, 0x3e], &ip),
            (&[0, 0, 0x88, 0x3e, 0, 0, 0, 1], &ip),
        ] {
            assert_looked_into(GRE, &[header, payload].concat());
        }
    }

    #[test]
    fn vxlan_and_geneve() {
        let frame = ethernet(0x0800, &ipv4(17, &UDP));
        let vxlan = |flags: u8| [&[flags, 0, 0, 0, 0, 0, 42, 0][..], &frame].concat();
        assert_looked_into(IpProtocol::UDP, &to_port(VXLAN_PORT, &vxlan(0x08)));
        assert_not_looked_into(IpProtocol::UDP, &to_port(VXLAN_PORT, &vxlan(0)));
        assert_not_looked_into(IpProtocol::UDP, &to_port(VXLAN_PORT + 1, &vxlan(0x08)));
        let geneve = |version: u8| {
            [&[version | 1, 0, 0x65, 0x58, 0, 0, 42, 0][..], &[1, 2, 3, 0], &frame].concat()
        };
        assert_looked_into(IpProtocol::UDP, &to_port(GENEVE_PORT, &geneve(0)));
        assert_not_looked_into(IpProtocol::UDP, &to_port(GENEVE_PORT, &geneve(0x40)));
    }

    #[test]
    fn tunnels_are_followed_into_each_other_and_not_without_end() {
        let innermost = ipv6(4, &ipv4(17, &UDP));
        let nest = |depth| (0..depth).fold(innermost.clone(), |bytes, _| ipv6(41, &bytes));
        assert_eq!(inner(LinkType::RAW, &nest(8)), Ok(udp_headers()));
        let deep = inner(LinkType::RAW, &nest(100)).unwrap();
        assert_eq!(deep.source, udp_headers_6().source, "the last one that was reached");
    }

    #[test]
    fn the_tunnel_counts_where_what_goes_through_it_cannot_be_told() {
        let ip = ipv4(17, &UDP);
        for captured in 0..20 {
            assert_not_looked_into(IPV4, &ip[..captured]);
        }
        assert_not_looked_into(IPV4, &ipv6(17, &UDP));
        assert_not_looked_into(GRE, &[&[0, 0, 0x08, 0x06][..], &[0; 28]].concat());
    }

    #[test]
    fn fragments_of_a_tunnel_stay_its_own() {
        let mut bytes = ipv4(4, &ipv4(17, &UDP));
        bytes[6] = 0x20;
        let headers = inner(LinkType::RAW, &bytes).unwrap();
        let fragment = Fragment { identification: 7, offset: 0, more: true };
        assert_eq!((headers.protocol, headers.fragment), (IPV4, Some(fragment)));
    }
}
