//! IEEE 802: Ethernet frames, tags, LLC and SNAP.

use super::{Decoded, Malformed, Undecodable, ipv4, ipv6, mpls, ppp, rest::Rest};

/// The highest number that is a length where an `EtherType` could be as well.
const MAX_LENGTH: u16 = 1500;

/// The `EtherType` of IPv4.
const IPV4: u16 = 0x0800;
/// The `EtherType` of IPv6.
const IPV6: u16 = 0x86dd;

/// An Ethernet frame.
#[inline]
pub(super) fn frame(rest: Rest<'_>) -> Decoded {
    let (&[.., type_0, type_1], rest) = rest.split::<14>()?;
    match u16::from_be_bytes([type_0, type_1]) {
        // Most frames are these, and no table stands before them.
        IPV4 => ipv4::datagram(rest),
        IPV6 => ipv6::datagram(rest),
        number => ether_type_or_length(number, rest),
    }
}

/// What follows a field that is one or the other.
pub(super) fn ether_type_or_length(number: u16, rest: Rest<'_>) -> Decoded {
    if number > MAX_LENGTH {
        ether_type(number, rest)
    } else {
        llc(rest.limit(usize::from(number)))
    }
}

/// What follows an `EtherType` (IANA "IEEE 802 Numbers").
pub(super) fn ether_type(number: u16, rest: Rest<'_>) -> Decoded {
    let rest = rest.deeper()?;
    match number {
        IPV4 => ipv4::datagram(rest),
        IPV6 => ipv6::datagram(rest),
        // IEEE 802.1Q and 802.1ad, and what was used for the latter before it had a number.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => tag::<4>(rest),
        // VN-Tag.
        0x8926 => tag::<6>(rest),
        0x88e5 => macsec(rest),
        0x8847 | 0x8848 => mpls::stack(rest),
        0x8864 => ppp::session(rest),
        0x880b => ppp::frame(rest),
        // Transparent Ethernet bridging.
        0x6558 => frame(rest),
        _ => Err(Undecodable::NotIp),
    }
}

/// A tag of `N` bytes: the last two say what follows.
fn tag<const N: usize>(rest: Rest<'_>) -> Decoded {
    let (tag, rest) = rest.split::<N>()?;
    let number = tag.last_chunk().ok_or(Malformed::Truncated)?;
    ether_type_or_length(u16::from_be_bytes(*number), rest)
}

/// IEEE 802.1AE: flags, packet number, maybe the channel, and what is only signed or also encrypted.
fn macsec(rest: Rest<'_>) -> Decoded {
    const CHANNEL: u8 = 0x20;
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    let (&[flags, ..], rest) = rest.split::<6>()?;
    if flags & ENCRYPTED_OR_CHANGED != 0 {
        return Err(Undecodable::NotIp);
    }
    tag::<2>(if flags & CHANNEL == 0 { rest } else { rest.skip(8) })
}

/// IEEE 802.2: the access points of both ends, and control.
pub(super) fn llc(rest: Rest<'_>) -> Decoded {
    match rest.split::<3>()? {
        ([0xaa, 0xaa, 0x03], rest) => snap(rest),
        ([0x06, 0x06, 0x03], rest) => ipv4::datagram(rest),
        _ => Err(Undecodable::NotIp),
    }
}

/// The subnetwork access protocol: who numbers, and the number.
pub(super) fn snap(rest: Rest<'_>) -> Decoded {
    let (&[organization @ .., type_0, type_1], rest) = rest.split::<5>()?;
    match (organization, u16::from_be_bytes([type_0, type_1])) {
        // RFC 1042, and IEEE 802.1H.
        ([0, 0, 0 | 0xf8], number) => ether_type(number, rest),
        // RFC 2427, D: bridged Ethernet, with its checksum or without.
        ([0, 0x80, 0xc2], 1 | 7) => frame(rest.deeper()?),
        _ => Err(Undecodable::NotIp),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ethernet, ipv4, ipv6, outer, udp_headers, udp_headers_6};
    use super::*;
    use crate::LinkType;

    fn of(ether_type: u16, payload: &[u8]) -> Decoded {
        outer(LinkType::ETHERNET, &ethernet(ether_type, payload))
    }

    #[test]
    fn a_frame_carries_either_version() {
        assert_eq!(of(0x0800, &ipv4(17, &UDP)), Ok(udp_headers()));
        assert_eq!(of(0x86dd, &ipv6(17, &UDP)), Ok(udp_headers_6()));
        assert_eq!(of(0x0800, &ipv6(17, &UDP)), Err(Malformed::Version.into()));
        assert_eq!(of(0x86dd, &ipv4(17, &UDP).repeat(2)), Err(Malformed::Version.into()));
    }

    #[test]
    fn what_is_not_of_ip_is_told_as_such() {
        // ARP, LLDP, loops, what is neither a type nor a length.
        for ether_type in [0x0806, 0x88cc, 0x9000, 1501] {
            assert_eq!(of(ether_type, &[0; 46]), Err(Undecodable::NotIp));
        }
        assert_eq!(outer(LinkType::ETHERNET, &[0; 13]), Err(Malformed::Truncated.into()));
    }

    #[test]
    fn tags_stack() {
        let ip = ipv4(17, &UDP);
        assert_eq!(of(0x8100, &[&[0x20, 5, 0x08, 0][..], &ip].concat()), Ok(udp_headers()));
        let twice = [&[0, 5, 0x81, 0, 0, 6, 0x08, 0][..], &ip].concat();
        for outermost in [0x88a8, 0x9100, 0x9200, 0x8100] {
            assert_eq!(of(outermost, &twice), Ok(udp_headers()));
        }
        let virtual_interface = [&[0, 0, 0, 0, 0x08, 0][..], &ip].concat();
        assert_eq!(of(0x8926, &virtual_interface), Ok(udp_headers()));
    }

    #[test]
    fn a_stack_of_tags_without_end_is_refused() {
        let tags = [0, 1, 0x81, 0].repeat(100);
        assert_eq!(of(0x8100, &tags), Err(Malformed::TooDeep.into()));
    }

    #[test]
    fn padding_is_no_data() {
        let tcp = [&[0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10][..], &[0; 6]].concat();
        let frame = [&ethernet(0x0800, &ipv4(6, &tcp))[..], &[0; 6]].concat();
        let segment = outer(LinkType::ETHERNET, &frame).unwrap().tcp.unwrap();
        assert_eq!(segment.payload, 0);
    }

    #[test]
    fn a_length_is_followed_by_llc() {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0][..], &ipv4(17, &UDP)].concat();
        let length = u16::try_from(snap.len()).unwrap();
        assert_eq!(of(length, &snap), Ok(udp_headers()));
        assert_eq!(of(length, &[&[6, 6, 3][..], &ipv4(17, &UDP)].concat()), Ok(udp_headers()));
        // A bridge's announcement.
        assert_eq!(of(38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat()), Err(Undecodable::NotIp));
        let inner = ethernet(0x0800, &ipv4(17, &UDP));
        let bridged = [&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7][..], &inner].concat();
        assert_eq!(of(100, &bridged), Ok(udp_headers()));
        let other = [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0];
        assert_eq!(of(8, &other), Err(Undecodable::NotIp));
    }

    #[test]
    fn what_macsec_only_signs_is_read() {
        let ip = ipv4(17, &UDP);
        let signed = [&[0x20, 0, 0, 0, 0, 9][..], &[1; 8], &[0x08, 0], &ip, &[7; 16]].concat();
        assert_eq!(of(0x88e5, &signed), Ok(udp_headers()));
        let without_channel = [&[0x40, 0, 0, 0, 0, 9][..], &[0x08, 0], &ip].concat();
        assert_eq!(of(0x88e5, &without_channel), Ok(udp_headers()));
        let encrypted = [&[0x2c][..], &signed[1..]].concat();
        assert_eq!(of(0x88e5, &encrypted), Err(Undecodable::NotIp));
    }
}
