//! MPLS (RFC 3032).

use super::{
    Decoded, Malformed, Undecodable, ipv4, ipv6,
    rest::{MAX_HEADERS, Rest},
};

/// The bit of the last entry.
const BOTTOM: u32 = 1 << 8;
/// The label of operation and maintenance (RFC 3429), which says what follows.
const MAINTENANCE: u32 = 14;

/// A stack of labels. What follows it stands in none of them, but IP shows by its version: what
/// carries anything else begins otherwise (RFC 4928).
pub(super) fn stack(mut rest: Rest<'_>) -> Decoded {
    for _ in 0..MAX_HEADERS {
        let (&entry, behind) = rest.split::<4>()?;
        let entry = u32::from_be_bytes(entry);
        rest = behind;
        if entry >> 12 == MAINTENANCE {
            return Err(Undecodable::NotIp);
        }
        if entry & BOTTOM != 0 {
            let &[first] = rest.peek::<1>()?;
            return match first >> 4 {
                4 => ipv4::datagram(rest),
                6 => ipv6::datagram(rest),
                _ => Err(Undecodable::NotIp),
            };
        }
    }
    Err(Malformed::TooDeep.into())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{UDP, ethernet, ipv4, ipv6, outer, udp_headers, udp_headers_6};
    use super::*;
    use crate::LinkType;

    fn of(payload: &[u8]) -> Decoded {
        outer(LinkType::ETHERNET, &ethernet(0x8847, payload))
    }

    #[test]
    fn what_is_below_the_bottom_shows_its_version() {
        let labels = [0, 1, 0x40, 64, 0, 1, 0x51, 64];
        assert_eq!(of(&[&labels[..], &ipv4(17, &UDP)].concat()), Ok(udp_headers()));
        assert_eq!(of(&[&labels[..], &ipv6(17, &UDP)].concat()), Ok(udp_headers_6()));
        // A pseudowire's control word.
        assert_eq!(of(&[&labels[..], &[0; 40]].concat()), Err(Undecodable::NotIp));
    }

    #[test]
    fn maintenance_is_not_of_ip() {
        let bytes = [&[0, 0, 0xe1, 1][..], &ipv4(17, &UDP)].concat();
        assert_eq!(of(&bytes), Err(Undecodable::NotIp));
    }

    #[test]
    fn a_stack_without_bottom_is_refused() {
        assert_eq!(of(&[0, 1, 0x40, 64]), Err(Malformed::Truncated.into()));
        assert_eq!(of(&[0, 1, 0x40, 64].repeat(100)), Err(Malformed::TooDeep.into()));
    }
}
