//! PPP (RFC 1661), in frames like those of HDLC (RFC 1662) and over Ethernet (RFC 2516).

use super::{Decoded, Malformed, Undecodable, ipv4, ipv6, link, mpls, rest::Rest};

/// A frame, whose address and control may be left out.
pub(super) fn frame(rest: Rest<'_>) -> Decoded {
    match rest.captured {
        [0xff, 0x03, ..] => protocol(rest.skip(2)),
        // Cisco's HDLC, unicast and broadcast.
        [0x0f | 0x8f, ..] => link::cisco_hdlc(rest),
        _ => protocol(rest),
    }
}

/// A session of PPP over Ethernet.
pub(super) fn session(rest: Rest<'_>) -> Decoded {
    let (&[.., length_0, length_1], rest) = rest.split::<6>()?;
    protocol(rest.limit(usize::from(u16::from_be_bytes([length_0, length_1]))))
}

/// A protocol number, of one byte where that is odd.
fn protocol(rest: Rest<'_>) -> Decoded {
    let (number, rest) = match *rest.captured {
        [low, ..] if low & 1 == 1 => (u16::from(low), rest.skip(1)),
        [high, low, ..] => (u16::from_be_bytes([high, low]), rest.skip(2)),
        _ => return Err(Malformed::Truncated.into()),
    };
    match number {
        0x0021 => ipv4::datagram(rest),
        0x0057 => ipv6::datagram(rest),
        0x0281 | 0x0283 => mpls::stack(rest),
        _ => Err(Undecodable::NotIp),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ethernet, ipv4, ipv6, outer, udp_headers, udp_headers_6};
    use super::*;
    use crate::LinkType;

    #[test]
    fn address_control_and_half_of_the_protocol_may_be_left_out() {
        let ip = ipv4(17, &UDP);
        for header in [&[0xff, 0x03, 0, 0x21][..], &[0xff, 0x03, 0x21], &[0, 0x21], &[0x21]] {
            for link_type in [LinkType::PPP, LinkType::PPP_HDLC] {
                assert_eq!(outer(link_type, &[header, &ip].concat()), Ok(udp_headers()));
            }
        }
        let bytes = [&[0, 0x57][..], &ipv6(17, &UDP)].concat();
        assert_eq!(outer(LinkType::PPP, &bytes), Ok(udp_headers_6()));
        assert_eq!(outer(LinkType::PPP, &[0xc0, 0x21, 1, 1]), Err(Undecodable::NotIp));
        assert_eq!(outer(LinkType::PPP, &[0xff, 0x03, 0]), Err(Malformed::Truncated.into()));
    }

    #[test]
    fn frames_of_cisco_say_an_ether_type() {
        let bytes = [&[0x0f, 0, 0x08, 0][..], &ipv4(17, &UDP)].concat();
        for link_type in [LinkType::PPP_HDLC, LinkType::C_HDLC] {
            assert_eq!(outer(link_type, &bytes), Ok(udp_headers()));
        }
        let keepalive = [0x8f, 0, 0x80, 0x35, 0, 0, 0, 2];
        assert_eq!(outer(LinkType::C_HDLC, &keepalive), Err(Undecodable::NotIp));
    }

    #[test]
    fn a_session_over_ethernet_is_looked_into() {
        let ip = ipv6(17, &UDP);
        let length = u16::try_from(ip.len() + 2).unwrap().to_be_bytes();
        let session = [&[0x11, 0, 0, 9][..], &length, &[0, 0x57], &ip].concat();
        let frame = ethernet(0x8864, &session);
        assert_eq!(outer(LinkType::ETHERNET, &frame), Ok(udp_headers_6()));
        assert_eq!(outer(LinkType::PPP_ETHER, &session), Ok(udp_headers_6()));
        let discovery = ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0]);
        assert_eq!(outer(LinkType::ETHERNET, &discovery), Err(Undecodable::NotIp));
    }
}
