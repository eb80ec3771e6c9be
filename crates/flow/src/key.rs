//! What makes packets belong to the same flow.

use std::{
    hash::{BuildHasher, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use foldhash::fast::RandomState;
use netglass_model::IpProtocol;
use netglass_packet::Headers;

use crate::icmp;

/// Interface, protocol, addresses and ports, the same for both directions: of the two endpoints the
/// lower one comes first.
///
/// Five words, so that hashing and comparing them needs no branches: twice the address, then ports,
/// interface, protocol and version of IP. Both addresses of IPv4 are in the last word before that, and
/// those before it are zero.
#[derive(Debug, Clone, Copy, Eq)]
pub(crate) struct Key([u64; 5]);

/// What tells keys of IPv4 apart, and most keys of IPv6: the last two words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NarrowKey([u64; 2]);

impl NarrowKey {
    /// That of no packet.
    pub(crate) const NONE: Self = Self([0; 2]);

    /// Whether it is all that the key says.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.0[1] & 0xff == u64::from(VERSION_4)
    }
}

impl PartialEq for NarrowKey {
    /// Without branches.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        (self.0[0] ^ other.0[0]) | (self.0[1] ^ other.0[1]) == 0
    }
}

const VERSION_4: u8 = 4;
const VERSION_6: u8 = 6;

impl PartialEq for Key {
    /// Without branches, and without the call that comparing the arrays would be.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (one, other)| differences | one ^ other)
            == 0
    }
}

/// Which of a key's endpoints sent a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sender {
    #[default]
    Lower,
    Higher,
}

/// Who talks to whom in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Conversation {
    /// The interface on which it was seen.
    pub(crate) interface: u16,
    /// The protocol above IP.
    pub(crate) protocol: IpProtocol,
    /// The source's address.
    pub(crate) source: IpAddr,
    /// Its port; zero where there are none.
    pub(crate) source_port: u16,
    /// The destination's address.
    pub(crate) destination: IpAddr,
    /// Its port; of ICMP the first packet's type times 256 and its code; zero where there are none.
    pub(crate) destination_port: u16,
}

impl Key {
    /// That of no packet.
    pub(crate) const NONE: Self = Self([0; 5]);

    #[inline]
    pub(crate) fn narrow(&self) -> NarrowKey {
        NarrowKey([self.0[3], self.0[4]])
    }

    /// The key of a packet, and who sent it. `ports` are none where they are not known.
    #[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
    #[inline(always)]
    pub(crate) fn of(
        interface: u16,
        headers: &Headers,
        ports: Option<(u16, u16)>,
    ) -> (Self, Sender) {
        let ports = match (ports, headers.protocol) {
            (Some((_, message)), IpProtocol::ICMPV4 | IpProtocol::ICMPV6) => {
                icmp::ports(headers.protocol, message)
            }
            (ports, _) => ports.unwrap_or((0, 0)),
        };
        let rest = u64::from(interface) << 16 | u64::from(headers.protocol.0) << 8;
        match (headers.source, headers.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::of_v4(source, destination, ports, rest | u64::from(VERSION_4))
            }
            (source, destination) => {
                let rest = rest | u64::from(VERSION_6);
                Self::of_v6(wide(source), wide(destination), ports, rest)
            }
        }
    }

    /// An endpoint is one number, and which of two is lower is no branch that could be foreseen.
    #[inline]
    fn of_v4(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        ports: (u16, u16),
        rest: u64,
    ) -> (Self, Sender) {
        let source = u64::from(source.to_bits()) << 16 | u64::from(ports.0);
        let destination = u64::from(destination.to_bits()) << 16 | u64::from(ports.1);
        let (low, high) = (source.min(destination), source.max(destination));
        let rest = low << 48 | (high & 0xffff) << 32 | rest;
        let sender = if source > destination { Sender::Higher } else { Sender::Lower };
        (Self([0, 0, 0, low >> 16 << 32 | high >> 16, rest]), sender)
    }

    fn of_v6(source: u128, destination: u128, ports: (u16, u16), rest: u64) -> (Self, Sender) {
        let higher = (source, ports.0) > (destination, ports.1);
        let (low, high, low_port, high_port) = if higher {
            (destination, source, ports.1, ports.0)
        } else {
            (source, destination, ports.0, ports.1)
        };
        let rest = u64::from(low_port) << 48 | u64::from(high_port) << 32 | rest;
        let (low, high) = (words(low), words(high));
        (
            Self([low.0, low.1, high.0, high.1, rest]),
            if higher { Sender::Higher } else { Sender::Lower },
        )
    }

    pub(crate) fn interface(&self) -> u16 {
        self.field(16)
    }

    pub(crate) fn protocol(&self) -> IpProtocol {
        let [protocol, _version] = self.field(0).to_be_bytes();
        IpProtocol(protocol)
    }

    /// Who talks to whom, if `source` is the source.
    pub(crate) fn conversation(&self, source: Sender) -> Conversation {
        let protocol = self.protocol();
        let (low, high) = self.addresses();
        let (low_port, high_port) = (self.field(48), self.field(32));
        let (source, destination, source_port, destination_port) = match source {
            Sender::Lower => (low, high, low_port, high_port),
            Sender::Higher => (high, low, high_port, low_port),
        };
        let (source_port, destination_port) = match protocol {
            IpProtocol::ICMPV4 | IpProtocol::ICMPV6 => {
                (0, icmp::first_message(protocol, source_port, destination_port))
            }
            _ => (source_port, destination_port),
        };
        Conversation {
            interface: self.interface(),
            protocol,
            source,
            source_port,
            destination,
            destination_port,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 bits of the word are wanted")]
    fn field(&self, shift: u32) -> u16 {
        (self.0[4] >> shift) as u16
    }

    /// The lower one and the higher one.
    fn addresses(&self) -> (IpAddr, IpAddr) {
        let [low, low_end, high, high_end, _] = self.0;
        if self.narrow().is_whole() {
            let [low, high] = [high_end >> 32, high_end & 0xffff_ffff].map(address_v4);
            return (low.into(), high.into());
        }
        let [low, high] = [(low, low_end), (high, high_end)]
            .map(|(start, end)| Ipv6Addr::from_bits(u128::from(start) << 64 | u128::from(end)));
        (low.into(), high.into())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it has no more bits")]
fn address_v4(bits: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(bits as u32)
}

/// The hash of a key under a seed.
#[inline]
pub(crate) fn hash(random: &RandomState, key: &Key) -> u64 {
    let mut hasher = random.build_hasher();
    let [.., address, rest] = key.0;
    // The words before are zero, and no key of another version ends with such a word.
    let words = if key.narrow().is_whole() { &[address, rest][..] } else { &key.0 };
    for &word in words {
        hasher.write_u64(word);
    }
    hasher.finish()
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of the number are wanted")]
fn words(bits: u128) -> (u64, u64) {
    ((bits >> 64) as u64, bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(source: IpAddr, destination: IpAddr, protocol: u8) -> Headers {
        Headers {
            source,
            destination,
            protocol: IpProtocol(protocol),
            source_port: 0,
            destination_port: 0,
            fragment: None,
            tcp: None,
        }
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key_that_tells_what_it_was_made_of(
            interface: u16,
            source: IpAddr,
            destination: IpAddr,
            protocol in prop_oneof![Just(6_u8), Just(17), Just(132)],
            ports: (u16, u16),
        ) {
            prop_assume!(source.is_ipv4() == destination.is_ipv4());
            let there = headers(source, destination, protocol);
            let back = headers(destination, source, protocol);
            let (key, sender) = Key::of(interface, &there, Some(ports));
            let (reverse, answering) = Key::of(interface, &back, Some((ports.1, ports.0)));
            prop_assert_eq!(key, reverse);
            prop_assert_eq!(
                sender == answering,
                (source, ports.0) == (destination, ports.1)
            );
            prop_assert_eq!(key.conversation(sender), Conversation {
                interface,
                protocol: IpProtocol(protocol),
                source,
                source_port: ports.0,
                destination,
                destination_port: ports.1,
            });
        }
    }

    #[test]
    fn an_address_of_ipv4_is_not_the_one_of_ipv6_that_it_is_mapped_to() {
        let four: IpAddr = [192, 0, 2, 1].into();
        let IpAddr::V4(address) = four else { unreachable!() };
        let six = IpAddr::V6(address.to_ipv6_mapped());
        let low = IpAddr::V6(Ipv6Addr::from_bits(u128::from(address.to_bits())));
        let keys = [four, six, low].map(|it| Key::of(0, &headers(it, it, 17), Some((1, 2))).0);
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
    }

    #[test]
    fn the_answer_to_a_ping_of_oneself_comes_from_the_other_end() {
        let here: IpAddr = [127, 0, 0, 1].into();
        let (request, asking) = Key::of(0, &headers(here, here, 1), Some((0, 8 << 8)));
        let (reply, answering) = Key::of(0, &headers(here, here, 1), Some((0, 0)));
        assert_eq!(request, reply);
        assert_ne!(asking, answering);
        assert_eq!(request.conversation(asking).destination_port, 8 << 8);
    }
}
