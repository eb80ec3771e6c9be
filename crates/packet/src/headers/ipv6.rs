//! IPv6 and its extension headers (RFC 8200).

use std::net::IpAddr;

use netglass_model::IpProtocol;

use super::{Decoded, Fragment, Malformed, ip::Datagram, rest::Rest};

/// The extension headers that are followed by another header in the clear (IANA "IPv6 Extension
/// Header Types").
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const MORE_FRAGMENTS: u16 = 1;

/// A datagram.
pub(super) fn datagram(rest: Rest<'_>) -> Decoded {
    let (&[first, _, _, _, payload_0, payload_1, next_header, _], rest) = rest.split::<8>()?;
    if first >> 4 != 6 {
        return Err(Malformed::Version.into());
    }
    let (&source, rest) = rest.split::<16>()?;
    let (&destination, rest) = rest.split::<16>()?;
    let rest = match u16::from_be_bytes([payload_0, payload_1]) {
        // What the network card cuts into packets, or what is longer than the field can say (RFC 2675).
        0 => rest,
        payload_length => rest.limit(payload_length.into()),
    };
    let (protocol, fragment, payload) = behind_extensions(next_header, rest);
    let datagram = Datagram {
        source: IpAddr::V6(source.into()),
        destination: IpAddr::V6(destination.into()),
        protocol: IpProtocol(protocol),
        fragment,
        payload,
    };
    Ok(datagram.headers())
}

/// What the extension headers end with: where the packet or its capture does, the first one that is
/// not there; in a fragment other than the first, whatever that one has next.
fn behind_extensions(mut next_header: u8, mut rest: Rest<'_>) -> (u8, Option<Fragment>, Rest<'_>) {
    let mut fragment = None;
    // Each takes at least eight bytes of the packet: it ends.
    while let HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS = next_header {
        let Ok((&[next, length, offset_0, offset_1, identification @ ..], behind)) =
            rest.split::<8>()
        else {
            break;
        };
        rest = match next_header {
            FRAGMENT => behind,
            AUTHENTICATION => rest.skip((usize::from(length) + 2) * 4),
            _ => behind.skip(usize::from(length) * 8),
        };
        if next_header == FRAGMENT {
            let offset = u16::from_be_bytes([offset_0, offset_1]);
            fragment = Some(Fragment {
                identification: u32::from_be_bytes(identification),
                offset: offset & !0b111,
                more: offset & MORE_FRAGMENTS != 0,
            })
            .filter(|fragment| fragment.more || fragment.offset != 0);
        }
        next_header = next;
        if fragment.is_some_and(Fragment::is_later) {
            break;
        }
    }
    (next_header, fragment, rest)
}

#[cfg(test)]
mod tests {
    use super::super::Headers;
    use super::super::samples::{UDP, ipv6, outer, udp_headers_6};
    use super::*;
    use crate::LinkType;

    fn of(bytes: &[u8]) -> Decoded {
        outer(LinkType::IPV6, bytes)
    }

    fn with_protocol(protocol: u8) -> Headers {
        let protocol = IpProtocol(protocol);
        Headers { protocol, source_port: 0, destination_port: 0, ..udp_headers_6() }
    }

    #[test]
    fn extension_headers_are_passed_over() {
        let chain = [
            &[ROUTING, 0, 1, 4, 0, 0, 0, 0][..],
            &[AUTHENTICATION, 0, 0, 0, 0, 0, 0, 0],
            &[DESTINATION_OPTIONS, 4, 0, 0],
            &[0; 20],
            &[17, 1, 1, 12],
            &[0; 12],
            &UDP,
        ];
        assert_eq!(of(&ipv6(HOP_BY_HOP, &chain.concat())), Ok(udp_headers_6()));
    }

    #[test]
    fn a_chain_that_is_cut_ends_with_the_header_that_is_not_there() {
        let chain = [&[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0][..], &[17, 0, 1, 4, 0, 0, 0, 0]];
        let bytes = ipv6(HOP_BY_HOP, &[&chain.concat()[..], &UDP].concat());
        assert_eq!(of(&bytes[..39]), Err(Malformed::Truncated.into()));
        assert_eq!(of(&bytes[..40]), Ok(with_protocol(HOP_BY_HOP)));
        assert_eq!(of(&bytes[..48]), Ok(with_protocol(DESTINATION_OPTIONS)));
        assert_eq!(of(&bytes[..56]), Ok(with_protocol(17)));
        assert_eq!(of(&bytes), Ok(udp_headers_6()));
    }

    #[test]
    fn what_is_encrypted_or_missing_ends_the_chain() {
        for protocol in [50, 59, 135] {
            assert_eq!(of(&ipv6(protocol, &[0; 16])), Ok(with_protocol(protocol)));
        }
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let fragment = |offset_and_more: u16| {
            let header = [&[17, 0][..], &offset_and_more.to_be_bytes(), &[1, 2, 3, 4]].concat();
            of(&ipv6(FRAGMENT, &[&header[..], &UDP].concat()))
        };
        let first = Fragment { identification: 0x0102_0304, offset: 0, more: true };
        assert_eq!(fragment(1), Ok(Headers { fragment: Some(first), ..udp_headers_6() }));
        let last = Fragment { offset: 1448, more: false, ..first };
        assert_eq!(fragment(1448), Ok(Headers { fragment: Some(last), ..with_protocol(17) }));
        assert_eq!(fragment(0), Ok(udp_headers_6()), "alone it is no fragment (RFC 6946)");
    }

    #[test]
    fn a_payload_length_of_zero_is_all_that_is_there() {
        let jumbogram = [
            &[6, 0, 0xc2, 4, 0, 1, 0, 0][..],
            &[0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0x50, 0x10],
            &[0; 106],
        ];
        let mut bytes = ipv6(HOP_BY_HOP, &jumbogram.concat());
        bytes[4..6].fill(0);
        assert_eq!(of(&bytes).unwrap().tcp.unwrap().payload, 100);
    }
}
