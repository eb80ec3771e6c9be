//! The addresses of a network namespace's interfaces (rtnetlink(7), `linux/if_addr.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    Error,
    netlink::{Consistency, Family, Netlink, message::Attributes},
};

const WHAT: &str = "the addresses of the interfaces";
const RTM_GETADDR: u16 = 22;
/// The length of `struct ifaddrmsg`.
const MESSAGE_LENGTH: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// How often the list is read when it changes while the kernel writes it.
const ATTEMPTS: u32 = 3;

/// Lists the addresses in the calling thread's network namespace.
pub(crate) fn list() -> Result<Vec<IpAddr>, Error> {
    Addresses::open()?.list()
}

/// Lists the addresses of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Addresses {
    netlink: Netlink,
}

impl Addresses {
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open(Family::Route, WHAT)? })
    }

    /// Lists them, sorted.
    pub(crate) fn list(&mut self) -> Result<Vec<IpAddr>, Error> {
        let mut addresses = Vec::new();
        for _ in 0..ATTEMPTS {
            addresses.clear();
            // A family of 0 asks for all.
            let consistency =
                self.netlink.dump(WHAT, RTM_GETADDR, &[0; MESSAGE_LENGTH], |message| {
                    addresses.extend(parse(message.payload));
                })?;
            if consistency == Consistency::Consistent {
                break;
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}

/// Reads the address of one `RTM_NEWADDR`; `None` where there is none.
fn parse(payload: &[u8]) -> Option<IpAddr> {
    let mut own = None;
    for (kind, value) in Attributes::new(payload.get(MESSAGE_LENGTH..)?) {
        // On a point-to-point link IFA_ADDRESS is the peer's, and IFA_LOCAL ours.
        match kind {
            IFA_LOCAL => return parse_octets(value),
            IFA_ADDRESS => own = parse_octets(value),
            _ => {}
        }
    }
    own
}

/// The address of an attribute's four or sixteen bytes, in its canonical family.
pub(crate) fn parse_octets(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(value).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
        [&8_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat()
    }

    #[test]
    fn our_end_of_a_point_to_point_link_is_the_local_one() {
        let payload = [
            vec![0; MESSAGE_LENGTH],
            attribute(IFA_ADDRESS, [10, 0, 0, 2]),
            attribute(IFA_LOCAL, [10, 0, 0, 1]),
        ]
        .concat();
        assert_eq!(parse(&payload), "10.0.0.1".parse().ok());
        assert_eq!(parse(&payload[..16]), "10.0.0.2".parse().ok());
        assert_eq!(parse(&payload[..8]), None);
        assert_eq!(parse(&payload[..3]), None);
    }

    #[test]
    fn the_loopback_address_is_listed() {
        let addresses = list().unwrap();
        // A namespace whose loopback is down has none at all.
        assert!(addresses.is_empty() || addresses.contains(&"127.0.0.1".parse().unwrap()));
    }
}
