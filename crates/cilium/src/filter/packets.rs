//! Addresses, ports and protocols of what notifications are about.

use std::{net::IpAddr, str::FromStr};

use crate::{
    dissect::{Dissector, Kind, Layer},
    log_record::LogRecord,
    notification::{Captured, TraceSockNotify},
    style::Style,
};

/// An address, or all addresses that begin as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPrefix {
    address: IpAddr,
    length: u8,
}

impl AddressPrefix {
    /// The address, and how many of its first bits count.
    #[must_use]
    pub const fn network(&self) -> (IpAddr, u8) {
        (self.address, self.length)
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

impl FromStr for AddressPrefix {
    type Err = String;

    /// `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither an address nor a prefix like 10.0.0.0/8");
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { most } else { length.parse().map_err(|_| wrong())? };
        if length > most || text.ends_with('/') {
            return Err(wrong());
        }
        Ok(Self { address, length })
    }
}

/// A protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP, of IPv4 or IPv6.
    Icmp,
    /// Another one by its number.
    Number(u8),
}

impl Protocol {
    /// Whether this number is it.
    #[must_use]
    pub const fn has(self, number: u8) -> bool {
        match self {
            Self::Tcp => number == 6,
            Self::Udp => number == 17,
            Self::Sctp => number == 132,
            Self::Icmp => matches!(number, 1 | 58),
            Self::Number(own) => own == number,
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "sctp" => Self::Sctp,
            "icmp" | "icmp6" | "icmpv6" => Self::Icmp,
            number => Self::Number(number.parse().map_err(|_| {
                format!("'{text}' is neither tcp, udp, sctp nor icmp, nor the number of a protocol")
            })?),
        })
    }
}

/// How many addresses, ports and protocols of a packet are looked at: those of a tunnel, too.
const MOST: usize = 8;

/// The ends of what a notification is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    addresses: [Option<IpAddr>; MOST],
    ports: [Option<u16>; MOST],
    protocols: [Option<u8>; MOST],
}

impl Ends {
    const NONE: Self =
        Self { addresses: [None; MOST], ports: [None; MOST], protocols: [None; MOST] };

    pub(super) fn of_sock(sock: &TraceSockNotify) -> Self {
        let [a, b, c, d, ..] = sock.address;
        let address =
            if sock.ipv6 { IpAddr::from(sock.address) } else { IpAddr::from([a, b, c, d]) };
        let mut ends = Self::NONE;
        add(&mut ends.addresses, address);
        add(&mut ends.ports, sock.port);
        match sock.protocol {
            1 => add(&mut ends.protocols, 6),
            2 => add(&mut ends.protocols, 17),
            _ => {}
        }
        ends
    }

    pub(super) fn of_record(record: &LogRecord) -> Self {
        let mut ends = Self::NONE;
        for end in [&record.source, &record.destination] {
            for address in [&end.ipv4, &end.ipv6] {
                if let Ok(address) = address.parse() {
                    add(&mut ends.addresses, address);
                }
            }
            if let Some(port) = u16::try_from(end.port).ok().filter(|port| *port > 0) {
                add(&mut ends.ports, port);
            }
        }
        if let Some(protocol) = record.transport_protocol {
            add(&mut ends.protocols, protocol);
        }
        ends
    }

    fn add_layer(&mut self, layer: &Layer) {
        match layer {
            Layer::Ipv4(it) => {
                add(&mut self.addresses, it.source.into());
                add(&mut self.addresses, it.destination.into());
                add(&mut self.protocols, it.protocol);
            }
            Layer::Ipv6(it) => {
                add(&mut self.addresses, it.source.into());
                add(&mut self.addresses, it.destination.into());
                let has_options = it.has_hop_by_hop;
                let next = if has_options { it.hop_by_hop.next_header } else { it.next_header };
                add(&mut self.protocols, next);
            }
            Layer::Tcp(it) => self.add_ports(it.source, it.destination),
            Layer::Udp(it) => self.add_ports(it.source, it.destination),
            Layer::Sctp(it) => self.add_ports(it.source, it.destination),
            _ => {}
        }
    }

    fn add_ports(&mut self, source: u16, destination: u16) {
        add(&mut self.ports, source);
        add(&mut self.ports, destination);
    }

    pub(super) fn match_addresses(&self, wanted: &[AddressPrefix]) -> bool {
        let mut addresses = self.addresses.iter().flatten();
        wanted.is_empty()
            || addresses.any(|address| wanted.iter().any(|prefix| prefix.contains(*address)))
    }

    pub(super) fn match_ports(&self, wanted: &[u16]) -> bool {
        wanted.is_empty() || self.ports.iter().flatten().any(|port| wanted.contains(port))
    }

    pub(super) fn match_protocols(&self, wanted: &[Protocol]) -> bool {
        let mut protocols = self.protocols.iter().flatten();
        wanted.is_empty()
            || protocols.any(|number| wanted.iter().any(|protocol| protocol.has(*number)))
    }
}

/// Puts a value into the first free place, if there is one.
fn add<T: Copy>(places: &mut [Option<T>; MOST], value: T) {
    if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
        *place = Some(value);
    }
}

/// Takes packets apart to see whose they are.
#[derive(Debug, Clone)]
pub(super) struct PacketFilter(Dissector);

impl Default for PacketFilter {
    fn default() -> Self {
        Self(Dissector::new(Style::Netglass(None)))
    }
}

impl PacketFilter {
    pub(super) fn ends(&mut self, captured: &Captured<'_>) -> Ends {
        self.0.decode(captured.packet(), captured.flags);
        let mut ends = Ends::NONE;
        for layer in &self.0.packet.layers {
            ends.add_layer(layer);
        }
        if self.0.tunnel.is_some_and(|kind| matches!(kind, Kind::Vxlan | Kind::Geneve)) {
            for layer in &self.0.overlay.layers {
                ends.add_layer(layer);
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_addresses_of_their_version() {
        let has = |prefix: &str, address: &str| {
            prefix.parse::<AddressPrefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.1.2.3") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("10.1.2.3", "10.1.2.3") && !has("10.1.2.3", "10.1.2.2"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1"));
        assert!(has("fd00::/8", "fd12::1") && !has("fd00::/8", "fc00::1"));
        assert!(has("10.0.0.1", "::ffff:10.0.0.1"));
        for wrong in ["10.0.0.0/33", "10.0.0.0/", "::/129", "host", "10.0.0.0/x"] {
            assert!(wrong.parse::<AddressPrefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn protocols_have_names_or_numbers() {
        assert_eq!("TCP".parse(), Ok(Protocol::Tcp));
        assert_eq!("47".parse(), Ok(Protocol::Number(47)));
        assert!("tcpp".parse::<Protocol>().is_err() && "256".parse::<Protocol>().is_err());
        assert!(Protocol::Icmp.has(1) && Protocol::Icmp.has(58) && !Protocol::Icmp.has(6));
    }
}
