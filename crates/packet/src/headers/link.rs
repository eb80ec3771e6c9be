//! What packets begin with, Ethernet, PPP and IEEE 802.11 apart
//! (<https://www.tcpdump.org/linktypes.html>).

use super::{
    Decoded, Malformed, Undecodable,
    ethernet::{self, ether_type, ether_type_or_length},
    ip, ipv4, ipv6, ppp,
    rest::Rest,
    wifi,
};
use crate::LinkType;

/// `AF_INET` of every system.
const AF_INET: u32 = 2;
/// `AF_INET6` of Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS.
const AF_INET6: [u32; 5] = [10, 23, 24, 28, 30];
/// `ARPHRD_NETLINK` of Linux.
const NETLINK_DEVICE: u16 = 824;
/// `ARPHRD_IEEE80211_RADIOTAP` of Linux.
const RADIOTAP_DEVICE: u16 = 803;
/// `NFULA_PAYLOAD` of Linux.
const NETFILTER_PAYLOAD: u16 = 9;

/// A packet that begins as its link type says.
#[inline]
pub(super) fn packet(link_type: LinkType, rest: Rest<'_>) -> Decoded {
    // Most are of Ethernet. The processor foresees a comparison better than a jump through a table:
    // with such jumps before its IP header, a packet takes three times as long.
    if link_type == LinkType::ETHERNET { ethernet::frame(rest) } else { other(link_type, rest) }
}

fn other(link_type: LinkType, rest: Rest<'_>) -> Decoded {
    match link_type {
        LinkType::LINUX_SLL => cooked(rest),
        LinkType::LINUX_SLL2 => cooked_2(rest),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => ip::datagram(rest),
        LinkType::IPV4 => ipv4::datagram(rest),
        LinkType::IPV6 => ipv6::datagram(rest),
        LinkType::NULL | LinkType::LOOP => address_family(rest),
        LinkType::IEEE802_11 => wifi::frame(rest),
        LinkType::IEEE802_11_RADIOTAP => wifi::radiotap(rest),
        LinkType::PPP | LinkType::PPP_HDLC => ppp::frame(rest),
        LinkType::PPP_ETHER => ppp::session(rest),
        LinkType::C_HDLC => cisco_hdlc(rest),
        LinkType::FRELAY => frame_relay(rest),
        LinkType::NFLOG => netfilter_log(rest),
        LinkType::IPOIB => infini_band(rest),
        LinkType::PKTAP => packet_tap(rest),
        _ => Err(Malformed::LinkType.into()),
    }
}

/// Linux cooked, version 1.
fn cooked(rest: Rest<'_>) -> Decoded {
    let (&[_, _, device_0, device_1, .., protocol_0, protocol_1], rest) = rest.split::<16>()?;
    cooked_payload(
        u16::from_be_bytes([device_0, device_1]),
        u16::from_be_bytes([protocol_0, protocol_1]),
        rest,
    )
}

/// Linux cooked, version 2.
fn cooked_2(rest: Rest<'_>) -> Decoded {
    let (header, rest) = rest.split::<20>()?;
    let &[protocol_0, protocol_1, _, _, _, _, _, _, device_0, device_1, ..] = header;
    cooked_payload(
        u16::from_be_bytes([device_0, device_1]),
        u16::from_be_bytes([protocol_0, protocol_1]),
        rest,
    )
}

fn cooked_payload(device: u16, protocol: u16, rest: Rest<'_>) -> Decoded {
    match (device, protocol) {
        (NETLINK_DEVICE, _) => Err(Undecodable::NotIp),
        (RADIOTAP_DEVICE, _) => wifi::radiotap(rest),
        // `ETH_P_802_2` of Linux.
        (_, 4) => ethernet::llc(rest),
        (_, number) => ether_type(number, rest),
    }
}

/// BSD loopback. The byte order is that of whichever host captured; a family is a small number, so
/// that it shows. Some write an `EtherType` there.
fn address_family(rest: Rest<'_>) -> Decoded {
    let (&family, rest) = rest.split::<4>()?;
    let family = match u32::from_be_bytes(family) {
        big_endian @ 0..=0xffff => big_endian,
        little_endian => little_endian.swap_bytes(),
    };
    match u16::try_from(family) {
        _ if family == AF_INET => ipv4::datagram(rest),
        _ if AF_INET6.contains(&family) => ipv6::datagram(rest),
        Ok(number) => ether_type(number, rest),
        Err(_) => Err(Undecodable::NotIp),
    }
}

/// Cisco's HDLC: address, control, `EtherType`.
pub(super) fn cisco_hdlc(rest: Rest<'_>) -> Decoded {
    let (&[_, _, type_0, type_1], rest) = rest.split::<4>()?;
    ether_type(u16::from_be_bytes([type_0, type_1]), rest)
}

/// IP over `InfiniBand`: a global routing header, `EtherType`, two bytes that say nothing.
fn infini_band(rest: Rest<'_>) -> Decoded {
    let (&[.., type_0, type_1, _, _], rest) = rest.split::<44>()?;
    ether_type(u16::from_be_bytes([type_0, type_1]), rest)
}

/// What macOS says of a packet, the link type among it.
fn packet_tap(rest: Rest<'_>) -> Decoded {
    const HEADER_LENGTH: usize = 12;
    let header = rest.peek::<HEADER_LENGTH>()?;
    let &[length_0, length_1, length_2, length_3, .., kind_0, kind_1, kind_2, kind_3] = header;
    let length = u32::from_le_bytes([length_0, length_1, length_2, length_3]);
    let link_type = u32::from_le_bytes([kind_0, kind_1, kind_2, kind_3]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length < HEADER_LENGTH {
        return Err(Malformed::Length.into());
    }
    let link_type = u16::try_from(link_type).map_err(|_| Malformed::LinkType)?;
    packet(LinkType(link_type), rest.skip(length).deeper()?)
}

/// Frame Relay: an address of two to four bytes, and what follows as RFC 2427 says or as Cisco
/// does.
fn frame_relay(rest: Rest<'_>) -> Decoded {
    let rest = match rest.captured {
        // The lowest bit says where the address ends.
        [_, last, ..] if last & 1 == 1 => rest.skip(2),
        [_, _, last, ..] if last & 1 == 1 => rest.skip(3),
        [_, _, _, _, ..] => rest.skip(4),
        _ => return Err(Malformed::Truncated.into()),
    };
    match *rest.captured {
        [0x03, 0x00, 0x80, ..] => ethernet::snap(rest.skip(3)),
        [0x03, 0x80, ..] => ethernet::snap(rest.skip(2)),
        [0x03, 0xcc, ..] => ipv4::datagram(rest.skip(2)),
        [0x03, 0x8e, ..] => ipv6::datagram(rest.skip(2)),
        [0x03, 0x00] => Err(Malformed::Truncated.into()),
        [0x03, _, ..] => Err(Undecodable::NotIp),
        [type_0, type_1, ..] => {
            ether_type_or_length(u16::from_be_bytes([type_0, type_1]), rest.skip(2))
        }
        _ => Err(Malformed::Truncated.into()),
    }
}

/// Linux netfilter's log: attributes, one of which is a packet without link header.
fn netfilter_log(rest: Rest<'_>) -> Decoded {
    let (&[family, ..], mut rest) = rest.split::<4>()?;
    let datagram = match u32::from(family) {
        AF_INET => ipv4::datagram,
        family if AF_INET6.contains(&family) => ipv6::datagram,
        _ => return Err(Undecodable::NotIp),
    };
    loop {
        let header = rest.peek::<4>()?;
        let &[length_0, length_1, kind_0, kind_1] = header;
        // The byte order is that of whichever host captured, and kinds are small numbers.
        let (length, kind) = match u16::from_be_bytes([kind_0, kind_1]) {
            kind @ 0..=0xff => (u16::from_be_bytes([length_0, length_1]), kind),
            kind => (u16::from_le_bytes([length_0, length_1]), kind.swap_bytes()),
        };
        let length = usize::from(length);
        if length < header.len() {
            return Err(Malformed::Length.into());
        }
        if kind == NETFILTER_PAYLOAD {
            return datagram(rest.limit(length).skip(header.len()));
        }
        rest = rest.skip(length.next_multiple_of(4));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ethernet, ipv4, ipv6, outer, udp_headers, udp_headers_6};
    use super::*;

    #[test]
    fn a_cooked_packet_says_its_ether_type() {
        let header = [0, 4, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0];
        let bytes = [&header[..], &[0x08, 0x00], &ipv4(17, &UDP)].concat();
        assert_eq!(outer(LinkType::LINUX_SLL, &bytes), Ok(udp_headers()));
        let bytes = [&header[..], &[0x86, 0xdd], &ipv6(17, &UDP)].concat();
        assert_eq!(outer(LinkType::LINUX_SLL, &bytes), Ok(udp_headers_6()));
        let bytes = [&header[..], &[0x08, 0x06], &[0; 28]].concat();
        assert_eq!(outer(LinkType::LINUX_SLL, &bytes), Err(Undecodable::NotIp));
    }

    #[test]
    fn a_cooked_packet_of_version_2_says_it_first() {
        let header = [0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0];
        let bytes = [&[0x08, 0x00], &header[..], &ipv4(17, &UDP)].concat();
        assert_eq!(outer(LinkType::LINUX_SLL2, &bytes), Ok(udp_headers()));
        let tagged = [&[0x81, 0x00], &header[..], &[0, 5, 0x86, 0xdd], &ipv6(17, &UDP)].concat();
        assert_eq!(outer(LinkType::LINUX_SLL2, &tagged), Ok(udp_headers_6()));
    }

    #[test]
    fn messages_of_netlink_are_not_of_ip_whatever_their_family_looks_like() {
        let bytes = [&[0, 4, 0x03, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0], &ipv4(17, &UDP)[..]];
        assert_eq!(outer(LinkType::LINUX_SLL, &bytes.concat()), Err(Undecodable::NotIp));
    }

    #[test]
    fn an_address_family_is_understood_in_either_byte_order() {
        for link_type in [LinkType::NULL, LinkType::LOOP] {
            for family in [[0, 0, 0, 2], [2, 0, 0, 0]] {
                let bytes = [&family[..], &ipv4(17, &UDP)].concat();
                assert_eq!(outer(link_type, &bytes), Ok(udp_headers()));
            }
            for family in AF_INET6 {
                for family in [family.to_be_bytes(), family.to_le_bytes()] {
                    let bytes = [&family[..], &ipv6(17, &UDP)].concat();
                    assert_eq!(outer(link_type, &bytes), Ok(udp_headers_6()));
                }
            }
            assert_eq!(outer(link_type, &[0, 0, 0, 1, 5, 5]), Err(Undecodable::NotIp));
            assert_eq!(outer(link_type, &[0, 0, 0]), Err(Malformed::Truncated.into()));
        }
    }

    #[test]
    fn without_a_header_the_version_tells() {
        for link_type in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_OPENBSD] {
            assert_eq!(outer(link_type, &ipv4(17, &UDP)), Ok(udp_headers()));
            assert_eq!(outer(link_type, &ipv6(17, &UDP)), Ok(udp_headers_6()));
            assert_eq!(outer(link_type, &[0x50; 40]), Err(Malformed::Version.into()));
        }
        assert_eq!(outer(LinkType::IPV4, &ipv4(17, &UDP)), Ok(udp_headers()));
        assert_eq!(outer(LinkType::IPV6, &ipv6(17, &UDP)), Ok(udp_headers_6()));
        assert_eq!(outer(LinkType::IPV4, &ipv6(17, &UDP)), Err(Malformed::Version.into()));
        assert_eq!(outer(LinkType::IPV6, &ipv4(17, &UDP)), Err(Malformed::Version.into()));
    }

    #[test]
    fn frame_relay_carries_ip_as_the_rfc_says_and_as_cisco_does() {
        let ip = ipv4(17, &UDP);
        for header in [
            &[0x18, 0x41, 0x03, 0xcc][..],
            &[0x18, 0x40, 0x41, 0x03, 0xcc],
            &[0x18, 0x40, 0x40, 0x41, 0x03, 0xcc],
            &[0x18, 0x41, 0x08, 0x00],
            &[0x18, 0x41, 0x03, 0x00, 0x80, 0, 0, 0, 0x08, 0x00],
        ] {
            assert_eq!(outer(LinkType::FRELAY, &[header, &ip].concat()), Ok(udp_headers()));
        }
        let bytes = [&[0x18, 0x41, 0x03, 0x8e], &ipv6(17, &UDP)[..]].concat();
        assert_eq!(outer(LinkType::FRELAY, &bytes), Ok(udp_headers_6()));
        assert_eq!(outer(LinkType::FRELAY, &[0x18, 0x41, 0x03, 0x08]), Err(Undecodable::NotIp));
        let cut = &[0x18, 0x41, 0x03, 0x00, 0x80][..];
        for length in 0..cut.len() {
            let truncated = Err(Malformed::Truncated.into());
            assert_eq!(outer(LinkType::FRELAY, &cut[..length]), truncated, "{length} bytes");
        }
    }

    #[test]
    fn netfilters_log_has_the_packet_in_one_attribute() {
        let ip = ipv4(17, &UDP);
        let length = u16::try_from(ip.len() + 4).unwrap();
        let little =
            [&[2, 0, 0, 0, 5, 0, 10, 0, b'x', 0, 0, 0][..], &length.to_le_bytes(), &[9, 0], &ip];
        assert_eq!(outer(LinkType::NFLOG, &little.concat()), Ok(udp_headers()));
        let big =
            [&[2, 0, 0, 0, 0, 5, 0, 10, b'x', 0, 0, 0][..], &length.to_be_bytes(), &[0, 9], &ip];
        assert_eq!(outer(LinkType::NFLOG, &big.concat()), Ok(udp_headers()));
        let endless = [2, 0, 0, 0, 0, 0, 10, 0];
        assert_eq!(outer(LinkType::NFLOG, &endless), Err(Malformed::Length.into()));
        assert_eq!(outer(LinkType::NFLOG, &[2, 0, 0, 0]), Err(Malformed::Truncated.into()));
        assert_eq!(outer(LinkType::NFLOG, &[7, 0, 0, 0]), Err(Undecodable::NotIp));
    }

    #[test]
    fn a_packet_tap_names_the_link_type_behind_it() {
        let tap = |link_type: u32| {
            [&12_u32.to_le_bytes()[..], &[0; 4], &link_type.to_le_bytes()].concat()
        };
        let bytes = [tap(1), ethernet(0x0800, &ipv4(17, &UDP))].concat();
        assert_eq!(outer(LinkType::PKTAP, &bytes), Ok(udp_headers()));
        assert_eq!(outer(LinkType::PKTAP, &tap(258).repeat(100)), Err(Malformed::TooDeep.into()));
        assert_eq!(outer(LinkType::PKTAP, &[0; 12]), Err(Malformed::Length.into()));
    }

    #[test]
    fn infini_band_says_the_ether_type_behind_its_addresses() {
        let bytes = [&[0; 40][..], &[0x08, 0, 0, 0], &ipv4(17, &UDP)].concat();
        assert_eq!(outer(LinkType::IPOIB, &bytes), Ok(udp_headers()));
    }

    #[test]
    fn a_link_type_that_is_not_known_is_told_as_such() {
        let frame = ethernet(0x0800, &ipv4(17, &UDP));
        assert_eq!(outer(LinkType(147), &frame), Err(Malformed::LinkType.into()));
    }
}
