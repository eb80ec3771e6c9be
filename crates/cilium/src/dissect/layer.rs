//! Layers, whatever their kind, and how their bytes are shown.

use super::{
    Ethernet, Geneve, Icmpv4, Icmpv6, Igmp, Ipv4, Ipv6, Sctp, Tcp, Udp, Vlan, Vrrp, Vxlan,
};
use crate::text::{put, put_number};

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ethernet,
    Vlan,
    Ipv4,
    Ipv6,
    Icmpv4,
    Icmpv6,
    Tcp,
    Udp,
    Sctp,
    Vrrp,
    Igmp,
    Vxlan,
    Geneve,
}

/// A layer by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer {
    Ethernet(Ethernet),
    Vlan(Vlan),
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    Icmpv4(Icmpv4),
    Icmpv6(Icmpv6),
    Tcp(Tcp),
    Udp(Udp),
    Sctp(Sctp),
    Vrrp(Vrrp),
    Igmp(Igmp),
    Vxlan(Vxlan),
    Geneve(Geneve),
}

/// Bytes as far as they are shown: four of them in decimal, of more how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    length: u32,
    first: [u8; 4],
}

/// How many elements of a list are shown.
pub(crate) const MOST_SHOWN: usize = 4;

impl Shown {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut first = [0; MOST_SHOWN];
        for (shown, byte) in first.iter_mut().zip(bytes) {
            *shown = *byte;
        }
        Self { length: u32::try_from(bytes.len()).unwrap_or(u32::MAX), first }
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.push(b'[');
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        match self.first.get(..length) {
            Some(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if index > 0 {
                        put(out, ", ");
                    }
                    put_number(out, *byte);
                }
            }
            None => put_count(out, length),
        }
        out.push(b']');
    }
}

/// Appends how many elements a list has that is not shown.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put(out, "..");
    put_number(out, count);
    put(out, "..");
}
