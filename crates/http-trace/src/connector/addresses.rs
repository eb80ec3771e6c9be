//! The order in which addresses are tried (RFC 6724, section 6).

use std::{
    cmp::{Ordering, Reverse},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Sorts addresses by how well they can be reached from here, best first.
pub(super) fn sort(addresses: &mut [IpAddr]) {
    if addresses.len() > 1 {
        sort_from(addresses, source);
    }
}

fn sort_from(addresses: &mut [IpAddr], source: impl Fn(IpAddr) -> Option<IpAddr>) {
    // The address is compared with its own source only: so each is looked for once.
    let mut found: Vec<Candidate> =
        addresses.iter().map(|&address| Candidate::new(address, source(address))).collect();
    found.sort_by(compare);
    for (place, candidate) in addresses.iter_mut().zip(found) {
        *place = candidate.address;
    }
}

/// Our address that the kernel would take; nothing is sent.
fn source(address: IpAddr) -> Option<IpAddr> {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0)).ok()?;
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

struct Candidate {
    address: IpAddr,
    source: Option<IpAddr>,
    scope: u8,
    precedence: u8,
    label: u8,
    source_scope: Option<u8>,
    source_label: Option<u8>,
}

impl Candidate {
    fn new(address: IpAddr, source: Option<IpAddr>) -> Self {
        let (precedence, label) = policy(address);
        Self {
            address,
            source,
            scope: scope(address),
            precedence,
            label,
            source_scope: source.map(scope),
            source_label: source.map(|source| policy(source).1),
        }
    }

    fn matches_scope(&self) -> bool {
        self.source_scope == Some(self.scope)
    }

    fn matches_label(&self) -> bool {
        self.source_label == Some(self.label)
    }
}

fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    // Rule 1: those that cannot be used come last.
    Reverse(a.source.is_some())
        .cmp(&Reverse(b.source.is_some()))
        // Rule 2: matching scope.
        .then(Reverse(a.matches_scope()).cmp(&Reverse(b.matches_scope())))
        // Rule 5: matching label.
        .then(Reverse(a.matches_label()).cmp(&Reverse(b.matches_label())))
        // Rule 6: higher precedence.
        .then(Reverse(a.precedence).cmp(&Reverse(b.precedence)))
        // Rule 8: smaller scope.
        .then(a.scope.cmp(&b.scope))
        // Rule 9: longest prefix, of IPv6 alone: networks of IPv4 do not follow each other so.
        .then(match (a.address, b.address) {
            (IpAddr::V6(_), IpAddr::V6(_)) => Reverse(prefix(a)).cmp(&Reverse(prefix(b))),
            _ => Ordering::Equal,
        })
}

fn prefix(candidate: &Candidate) -> u32 {
    match (candidate.address, candidate.source) {
        (IpAddr::V6(address), Some(IpAddr::V6(source))) => {
            let different = u128::from(address) ^ u128::from(source);
            // Beyond the network's part it says nothing.
            different.leading_zeros().min(64)
        }
        _ => 0,
    }
}

const LINK_LOCAL: u8 = 0x2;
const SITE_LOCAL: u8 = 0x5;
const GLOBAL: u8 = 0xe;

fn scope(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) if address.is_loopback() || address.is_link_local() => LINK_LOCAL,
        IpAddr::V6(address) if address.is_multicast() => address.octets()[1] & 0xf,
        IpAddr::V6(address) if address.is_loopback() || address.is_unicast_link_local() => {
            LINK_LOCAL
        }
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        IpAddr::V4(_) | IpAddr::V6(_) => GLOBAL,
    }
}

/// Precedence and label of the default policy table (section 2.1).
fn policy(address: IpAddr) -> (u8, u8) {
    let IpAddr::V6(address) = address else { return (35, 4) };
    let [first, second, ..] = address.segments();
    let high = u128::from(address) >> 32;
    match (first, second) {
        _ if address.is_loopback() => (50, 0),
        _ if high == 0xffff => (35, 4),
        _ if high == 0 => (1, 3),
        (0x2001, 0) => (5, 5),
        (0x2002, _) => (30, 2),
        (0x3ffe, _) => (1, 12),
        _ if first & 0xffc0 == 0xfec0 => (1, 11),
        _ if first & 0xfe00 == 0xfc00 => (3, 13),
        _ => (40, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(addresses: &[&str], sources: &[&str]) -> Vec<String> {
        let mut addresses: Vec<IpAddr> =
            addresses.iter().map(|text| text.parse().unwrap()).collect();
        let sources: Vec<IpAddr> = sources.iter().map(|text| text.parse().unwrap()).collect();
        sort_from(&mut addresses, |address| {
            let same = |source: &&IpAddr| source.is_ipv4() == address.is_ipv4();
            let scope_of = |source: &IpAddr| policy(*source).1 == policy(address).1;
            let same: Vec<&IpAddr> = sources.iter().filter(same).collect();
            same.iter().find(|source| scope_of(source)).or(same.first()).map(|source| **source)
        });
        addresses.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn global_ipv6_comes_first_and_unique_local_after_ipv4() {
        let sources = ["10.0.0.2", "fd77::2", "2001:db8::2"];
        assert_eq!(sorted(&["10.0.0.1", "2001:db8::1"], &sources), ["2001:db8::1", "10.0.0.1"]);
        assert_eq!(sorted(&["fd77::1", "10.0.0.1"], &sources), ["10.0.0.1", "fd77::1"]);
    }

    #[test]
    fn what_cannot_be_reached_comes_last() {
        assert_eq!(
            sorted(&["2001:db8::1", "10.0.0.1"], &["10.0.0.2"]),
            ["10.0.0.1", "2001:db8::1"]
        );
    }

    #[test]
    fn addresses_of_one_kind_keep_their_order() {
        let sources = ["10.0.0.2"];
        assert_eq!(sorted(&["10.9.0.1", "10.0.0.1"], &sources), ["10.9.0.1", "10.0.0.1"]);
    }
}
