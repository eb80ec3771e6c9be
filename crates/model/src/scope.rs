//! Which peers matter, by their address.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which peers a probe keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressScope {
    /// Every peer.
    #[default]
    All,
    /// Peers whose address is not [`is_private`].
    Public,
    /// Peers whose address [`is_private`].
    Private,
}

impl AddressScope {
    /// Whether a peer at `address` is kept.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Public => !is_private(address),
            Self::Private => is_private(address),
        }
    }
}

/// Whether an address is of use only on this host or inside a site: loopback (127.0.0.0/8, `::1`),
/// private (RFC 1918), unique local (RFC 4193), link local (RFC 3927, RFC 4291) and shared behind
/// carrier-grade NAT (RFC 6598).
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_those_of_the_rfcs() {
        for address in [
            "127.0.0.1",
            "127.255.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address} is private");
        }
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8", "192.0.2.1"]
        {
            assert!(!is_private(address.parse().unwrap()), "{address} is public");
        }
    }

    #[test]
    fn a_scope_keeps_what_it_names() {
        let (private, public) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert!(AddressScope::All.contains(private) && AddressScope::All.contains(public));
        assert!(AddressScope::Private.contains(private) && !AddressScope::Private.contains(public));
        assert!(!AddressScope::Public.contains(private) && AddressScope::Public.contains(public));
    }
}
