//! Who a packet is from and for, on one line.

use std::net::{IpAddr, SocketAddr};

use super::drop::put_reason;
use super::layers::{igmp_type, put_ethernet_type, put_icmpv4_name, put_icmpv6_name, vrrp_type};
use crate::{
    dissect::{Chain, Dissector, Kind, Objects},
    notification::{Captured, DropNotify, PacketFlags},
    style::Style,
    text::{mapped_ipv4, put, put_ipv4, put_ipv6, put_mac, put_number},
};

/// Where the addresses of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    V4,
    V6,
}

/// What there is of a packet, the innermost of each kind.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    ethernet: bool,
    network: Option<Network>,
    transport: Option<Kind>,
}

impl Found {
    fn of(chain: &Chain) -> Self {
        let mut found = Self::default();
        for kind in &chain.decoded {
            match kind {
                Kind::Ethernet => found.ethernet = true,
                Kind::Ipv4 => found.network = Some(Network::V4),
                Kind::Ipv6 => found.network = Some(Network::V6),
                Kind::Vlan | Kind::Vxlan | Kind::Geneve => {}
                transport => found.transport = Some(*transport),
            }
        }
        found
    }
}

/// Who a packet is from and for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PacketEnds {
    /// The protocol above IP, of those that are known; else 0.
    pub protocol: u8,
    /// Where it is from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
}

/// Puts into words what drops are counted by.
#[derive(Debug)]
pub struct Summarizer {
    dissector: Dissector,
    style: Style,
}

impl Summarizer {
    /// In the words of this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { dissector: Dissector::new(style), style }
    }

    /// Who a packet is from and for.
    pub fn connection(&mut self, captured: &Captured<'_>) -> String {
        self.dissector.decode(captured.packet(), captured.flags);
        text(|out| put_connection(out, &self.dissector, self.style))
    }

    /// The ends of a packet of IP, those of the outer one in a tunnel; ports are 0 where it has none.
    pub fn ends(&mut self, captured: &Captured<'_>) -> Option<PacketEnds> {
        self.dissector.decode(captured.packet(), captured.flags);
        let chain = &self.dissector.packet;
        let found = Found::of(chain);
        let objects = &chain.objects;
        let (source, destination): (IpAddr, IpAddr) = match found.network? {
            Network::V4 => (objects.ipv4.source.into(), objects.ipv4.destination.into()),
            Network::V6 => (objects.ipv6.source.into(), objects.ipv6.destination.into()),
        };
        let (protocol, ports) = match found.transport {
            Some(Kind::Tcp) => (6, (objects.tcp.source, objects.tcp.destination)),
            Some(Kind::Udp) => (17, (objects.udp.source, objects.udp.destination)),
            Some(Kind::Sctp) => (132, (objects.sctp.source, objects.sctp.destination)),
            Some(Kind::Icmpv4) => (1, (0, 0)),
            Some(Kind::Icmpv6) => (58, (0, 0)),
            _ => (0, (0, 0)),
        };
        Some(PacketEnds {
            protocol,
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
        })
    }

    /// Why a packet was dropped.
    #[must_use]
    pub fn reason(&self, drop: &DropNotify<'_>) -> String {
        text(|out| put_reason(out, drop, self.style))
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The summary of a packet: who it is from and for.
#[must_use]
pub fn connection_summary(packet: &[u8], style: Style) -> String {
    let mut dissector = Dissector::new(style);
    dissector.decode(packet, PacketFlags::default());
    text(|out| put_connection(out, &dissector, style))
}

/// Appends the summary of a packet that was taken apart.
pub(super) fn put_connection(out: &mut Vec<u8>, dissector: &Dissector, style: Style) {
    let outer = &dissector.packet;
    let inner = &dissector.overlay;
    if style.is_1_20() {
        let is_malformed =
            outer.malformed.is_some() || dissector.tunnel.is_some() && inner.malformed.is_some();
        if is_malformed {
            put(out, "[error]");
            return;
        }
    }
    let Some(tunnel) = dissector.tunnel else {
        put_chain(out, outer, style);
        return;
    };
    put_chain(out, inner, style);
    put(out, " [tunnel ");
    put_ends(out, &outer.objects, Found::of(outer));
    put(out, if tunnel == Kind::Vxlan { " vxlan]" } else { " geneve]" });
}

fn put_chain(out: &mut Vec<u8>, chain: &Chain, style: Style) {
    let objects = &chain.objects;
    let found = Found::of(chain);
    if found.network.is_none() {
        if found.ethernet {
            put_mac(out, objects.ethernet.source);
            put(out, " -> ");
            put_mac(out, objects.ethernet.destination);
            out.push(b' ');
            let vlan = chain.has(Kind::Vlan).then_some(objects.vlan.ether_type);
            put_ethernet_type(out, vlan.unwrap_or(objects.ethernet.ether_type), style);
        } else {
            put(out, "[unknown]");
        }
        return;
    }
    put_ends(out, objects, found);
    match found.transport {
        Some(Kind::Tcp) => {
            put(out, " tcp ");
            put_tcp_flags(out, objects.tcp.flags, style);
        }
        Some(Kind::Udp) => put(out, " udp"),
        Some(Kind::Sctp) => put(out, " sctp"),
        Some(Kind::Icmpv4) => {
            put(out, if style.is_1_5() { " " } else { " icmp " });
            put_icmpv4_name(out, objects.icmpv4.kind, objects.icmpv4.code);
        }
        Some(Kind::Icmpv6) => {
            put(out, if style.is_1_5() { " " } else { " icmp " });
            put_icmpv6_name(out, objects.icmpv6.kind, objects.icmpv6.code);
        }
        Some(Kind::Vrrp) => {
            put(out, " vrrp ");
            put(out, vrrp_type(objects.vrrp.kind));
            out.push(b' ');
            put_number(out, objects.vrrp.router);
            out.push(b' ');
            put_number(out, objects.vrrp.priority);
        }
        Some(Kind::Igmp) => {
            put(out, " igmp ");
            put(out, igmp_type(objects.igmp.kind));
            out.push(b' ');
            put_ipv4(out, objects.igmp.group);
        }
        _ => {}
    }
}

/// Both ends, with ports where there are such.
fn put_ends(out: &mut Vec<u8>, objects: &Objects, found: Found) {
    let ports = match found.transport {
        Some(Kind::Tcp) => Some((objects.tcp.source, objects.tcp.destination)),
        Some(Kind::Udp) => Some((objects.udp.source, objects.udp.destination)),
        Some(Kind::Sctp) => Some((objects.sctp.source, objects.sctp.destination)),
        _ => None,
    };
    match found.network {
        Some(Network::V4) => {
            put_ipv4(out, objects.ipv4.source);
            put_port(out, ports.map(|(source, _)| source));
            put(out, " -> ");
            put_ipv4(out, objects.ipv4.destination);
            put_port(out, ports.map(|(_, destination)| destination));
        }
        Some(Network::V6) => {
            put_ipv6_end(out, objects.ipv6.source, ports.map(|(source, _)| source));
            put(out, " -> ");
            put_ipv6_end(out, objects.ipv6.destination, ports.map(|(_, destination)| destination));
        }
        None => put(out, "[unknown]"),
    }
}

fn put_port(out: &mut Vec<u8>, port: Option<u16>) {
    if let Some(port) = port {
        out.push(b':');
        put_number(out, port);
    }
}

fn put_ipv6_end(out: &mut Vec<u8>, address: [u8; 16], port: Option<u16>) {
    let has_brackets = port.is_some() && mapped_ipv4(address).is_none();
    if has_brackets {
        out.push(b'[');
    }
    put_address(out, address);
    if has_brackets {
        out.push(b']');
    }
    put_port(out, port);
}

/// Appends an IPv6 address, one that stands for an IPv4 address as that.
pub(super) fn put_address(out: &mut Vec<u8>, address: [u8; 16]) {
    match mapped_ipv4(address) {
        Some(address) => put_ipv4(out, address),
        None => put_ipv6(out, address),
    }
}

/// Appends the flags of TCP: Cilium shows four of them.
pub(super) fn put_tcp_flags(out: &mut Vec<u8>, flags: u8, style: Style) {
    const ALL: [(u8, &str); 8] = [
        (0x02, "SYN"),
        (0x10, "ACK"),
        (0x04, "RST"),
        (0x01, "FIN"),
        (0x08, "PSH"),
        (0x20, "URG"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let shown = if style.is_ours() { ALL.len() } else { 4 };
    let mut is_first = true;
    for (_, name) in ALL.into_iter().take(shown).filter(|(bit, _)| flags & bit != 0) {
        if !is_first {
            put(out, ", ");
        }
        is_first = false;
        put(out, name);
    }
    if is_first && style.is_ours() {
        put(out, "none");
    }
}
