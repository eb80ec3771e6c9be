//! Which address this host has towards another one (rtnetlink(7), `linux/rtnetlink.h`).

use std::net::IpAddr;

use crate::{
    Error, address,
    netlink::{Family, Netlink, message::Attributes},
};

const WHAT: &str = "the routes";
const RTM_GETROUTE: u16 = 26;
/// The length of `struct rtmsg`.
const MESSAGE_LENGTH: usize = 12;
const RTA_DST: u16 = 1;
const RTA_PREFSRC: u16 = 7;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Asks for routes in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Routes {
    netlink: Netlink,
}

impl Routes {
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open(Family::Route, WHAT)? })
    }

    /// The address from which the kernel sends to `peer` where the sender does not choose one;
    /// `None` where it has no route.
    #[cfg(any(feature = "ebpf", test))]
    pub(crate) fn source_address(&mut self, peer: IpAddr) -> Option<IpAddr> {
        self.ask(peer).ok().flatten()
    }

    /// The same, or why the kernel does not tell.
    pub(crate) fn ask(&mut self, peer: IpAddr) -> Result<Option<IpAddr>, Error> {
        let mut source = None;
        self.netlink.ask(WHAT, RTM_GETROUTE, &request(peer), |message| {
            let attributes = message.payload.get(MESSAGE_LENGTH..).unwrap_or_default();
            for (kind, value) in Attributes::new(attributes) {
                if kind == RTA_PREFSRC {
                    source = address::parse_octets(value);
                }
            }
        })?;
        Ok(source)
    }
}

fn request(peer: IpAddr) -> Vec<u8> {
    let (family, octets) = match peer {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let mut message = vec![0; MESSAGE_LENGTH];
    message[0] = family;
    let bits = octets.len() * 8;
    message[1] = u8::try_from(bits).unwrap_or_default();
    let length = u16::try_from(4 + octets.len()).unwrap_or_default();
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&RTA_DST.to_ne_bytes());
    message.extend_from_slice(&octets);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_talk_to_ourselves_from_the_same_address() {
        let loopback = "127.0.0.1".parse().unwrap();
        // A namespace whose loopback is down has no route at all.
        let source = Routes::open().unwrap().source_address(loopback);
        assert!(source.is_none_or(|source| source == loopback), "{source:?}");
    }
}
