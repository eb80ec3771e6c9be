//! Packets taken apart layer by layer, as the packet library of Cilium (gopacket) does it.
//!
//! That library decodes into one object for each kind of layer and never makes new ones, so what a
//! packet leaves in them can be seen in later ones. The renderings of Cilium's own lines need all of
//! that; for ours everything is forgotten first, and each layer is remembered by itself.

mod ethernet;
mod geneve;
mod icmp;
mod igmp;
mod ipv4;
mod ipv6;
pub(crate) mod layer;
pub(crate) mod multipath_tcp;
mod sctp;
pub(crate) mod tcp;
mod udp;
mod vlan;
mod vrrp;
mod vxlan;

use std::fmt;

pub(crate) use self::{
    ethernet::Ethernet,
    geneve::Geneve,
    icmp::{Icmpv4, Icmpv6},
    igmp::Igmp,
    ipv4::Ipv4,
    ipv6::{HopByHop, Ipv6},
    layer::{Kind, Layer, Shown},
    sctp::Sctp,
    tcp::Tcp,
    udp::Udp,
    vlan::Vlan,
    vrrp::Vrrp,
    vxlan::Vxlan,
};
use crate::{notification::PacketFlags, style::Style};

/// Whose faults are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// gopacket 1.1.16, which Cilium 1.5 has.
    V1_1,
    /// gopacket 1.6.0, which Cilium 1.20 has.
    V1_6,
    /// None: ours.
    Own,
}

/// How many layers of a packet are taken apart for our own lines.
const MOST_LAYERS: usize = 32;

/// Why a layer could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A text without numbers.
    Text(&'static str),
    /// A text with a number in the place of its braces.
    One(&'static str, usize),
    /// A text with two numbers.
    Two(&'static str, usize, usize),
    /// An IPv6 packet without length whose next header is no hop-by-hop one.
    NoLength(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Text(text) => f.write_str(text),
            Self::One(text, number) => {
                let (before, behind) = text.split_once("{}").unwrap_or((text, ""));
                write!(f, "{before}{number}{behind}")
            }
            Self::Two(text, one, two) => {
                let mut parts = text.splitn(3, "{}");
                let mut next = || parts.next().unwrap_or_default();
                write!(f, "{}{one}{}{two}{}", next(), next(), next())
            }
            Self::NoLength(next) => {
                let name = crate::tables::ip_protocols::ip_protocol(next);
                let name = name.unwrap_or("UnknownIPProtocol");
                write!(f, "IPv6 length 0, but next header is {name}, not HopByHop")
            }
        }
    }
}

/// What decoding a layer needs to know and tells.
pub(crate) struct Context {
    library: Library,
    /// Whether a length said more than there is.
    truncated: bool,
}

impl Context {
    const fn set_truncated(&mut self) {
        self.truncated = true;
    }
}

/// What follows a layer.
struct Next<'a> {
    kind: Option<Kind>,
    payload: &'a [u8],
}

impl<'a> Next<'a> {
    const NOTHING: Self = Self { kind: None, payload: &[] };

    const fn new(kind: Option<Kind>, payload: &'a [u8]) -> Self {
        Self { kind, payload }
    }
}

/// The objects that layers are decoded into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) ethernet: Ethernet,
    pub(crate) vlan: Vlan,
    pub(crate) ipv4: Ipv4,
    pub(crate) ipv6: Ipv6,
    pub(crate) icmpv4: Icmpv4,
    pub(crate) icmpv6: Icmpv6,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) sctp: Sctp,
    pub(crate) vrrp: Vrrp,
    pub(crate) igmp: Igmp,
    pub(crate) vxlan: Vxlan,
    pub(crate) geneve: Geneve,
}

/// A chain of layers, from the first one on as far as it can be decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    pub(crate) objects: Objects,
    /// What was decoded, in order.
    pub(crate) decoded: Vec<Kind>,
    /// Each layer by itself; ours alone.
    pub(crate) layers: Vec<Layer>,
    pub(crate) truncated: bool,
    pub(crate) malformed: Option<Malformed>,
}

impl Chain {
    fn clear(&mut self) {
        self.decoded.clear();
        self.layers.clear();
        self.truncated = false;
        self.malformed = None;
    }

    /// Decodes from `first` on. What is left of the data for a tunnel is returned.
    fn decode<'a>(
        &mut self,
        library: Library,
        keeps_layers: bool,
        first: Kind,
        data: &'a [u8],
    ) -> Option<Tunneled<'a>> {
        self.clear();
        let mut context = Context { library, truncated: false };
        let mut kind = first;
        let mut data = data;
        let mut tunneled = None;
        loop {
            let next = match self.objects.decode(kind, data, &mut context) {
                Ok(next) => next,
                Err(malformed) => {
                    self.malformed = Some(malformed);
                    break;
                }
            };
            self.decoded.push(kind);
            if keeps_layers {
                self.layers.push(self.objects.layer(kind));
            }
            if library == Library::Own && self.decoded.len() == MOST_LAYERS {
                break;
            }
            if kind == Kind::Udp {
                tunneled = Some(Tunneled { payload: next.payload });
            }
            match next {
                Next { payload: [], .. } | Next { kind: None, .. } => break,
                Next { kind: Some(following), payload } => (kind, data) = (following, payload),
            }
        }
        self.truncated = context.truncated;
        tunneled
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.decoded.contains(&kind)
    }
}

/// What a UDP datagram carries.
struct Tunneled<'a> {
    payload: &'a [u8],
}

impl Objects {
    fn decode<'a>(
        &mut self,
        kind: Kind,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<Next<'a>, Malformed> {
        match kind {
            Kind::Ethernet => self.ethernet.decode(data, context),
            Kind::Vlan => self.vlan.decode(data),
            Kind::Ipv4 => self.ipv4.decode(data, context),
            Kind::Ipv6 => self.ipv6.decode(data, context),
            Kind::Icmpv4 => self.icmpv4.decode(data, context),
            Kind::Icmpv6 => self.icmpv6.decode(data, context),
            Kind::Tcp => self.tcp.decode(data, context),
            Kind::Udp => self.udp.decode(data, context),
            Kind::Sctp => self.sctp.decode(data),
            Kind::Vrrp => self.vrrp.decode(data, context),
            Kind::Igmp => self.igmp.decode(data),
            Kind::Vxlan => self.vxlan.decode(data),
            Kind::Geneve => self.geneve.decode(data, context),
        }
    }

    /// A layer by itself.
    pub(crate) fn layer(&self, kind: Kind) -> Layer {
        match kind {
            Kind::Ethernet => Layer::Ethernet(self.ethernet),
            Kind::Vlan => Layer::Vlan(self.vlan),
            Kind::Ipv4 => Layer::Ipv4(self.ipv4),
            Kind::Ipv6 => Layer::Ipv6(self.ipv6),
            Kind::Icmpv4 => Layer::Icmpv4(self.icmpv4),
            Kind::Icmpv6 => Layer::Icmpv6(self.icmpv6),
            Kind::Tcp => Layer::Tcp(self.tcp),
            Kind::Udp => Layer::Udp(self.udp),
            Kind::Sctp => Layer::Sctp(self.sctp),
            Kind::Vrrp => Layer::Vrrp(self.vrrp),
            Kind::Igmp => Layer::Igmp(self.igmp),
            Kind::Vxlan => Layer::Vxlan(self.vxlan),
            Kind::Geneve => Layer::Geneve(self.geneve),
        }
    }
}

/// The layer of an Ethernet type, if it is one that is decoded.
const fn by_ether_type(number: u16, library: Library) -> Option<Kind> {
    match (number, library) {
        (0x0800, _) | (0xffff, Library::V1_6) => Some(Kind::Ipv4),
        (0x86dd, _) => Some(Kind::Ipv6),
        (0x6558, _) => Some(Kind::Ethernet),
        (0x8100 | 0x88a8, Library::Own) => Some(Kind::Vlan),
        _ => None,
    }
}

/// The layer of an IP protocol, if it is one that is decoded.
const fn by_protocol(number: u8, library: Library) -> Option<Kind> {
    match (number, library) {
        (1, _) => Some(Kind::Icmpv4),
        (2, Library::V1_6 | Library::Own) => Some(Kind::Igmp),
        (4 | 94, _) => Some(Kind::Ipv4),
        (6, _) => Some(Kind::Tcp),
        (17, _) => Some(Kind::Udp),
        (41, _) => Some(Kind::Ipv6),
        (58, _) => Some(Kind::Icmpv6),
        (112, Library::V1_6 | Library::Own) => Some(Kind::Vrrp),
        (132, Library::V1_6 | Library::Own) => Some(Kind::Sctp),
        _ => None,
    }
}

/// Takes packets apart, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Dissector {
    library: Library,
    keeps_layers: bool,
    /// The packet.
    pub(crate) packet: Chain,
    /// What goes through a tunnel.
    pub(crate) overlay: Chain,
    /// Which tunnel it is, if one was looked into.
    pub(crate) tunnel: Option<Kind>,
    /// What the last UDP datagram carried: 1.20 takes it for the tunnel of a packet that has none.
    last_payload: Vec<u8>,
}

impl Dissector {
    /// With nothing left of an earlier packet.
    pub(crate) fn new(style: Style) -> Self {
        let library = match style {
            Style::V1_5 => Library::V1_1,
            Style::V1_20 => Library::V1_6,
            Style::Netglass(_) => Library::Own,
        };
        Self {
            library,
            keeps_layers: library == Library::Own,
            packet: Chain::default(),
            overlay: Chain::default(),
            tunnel: None,
            last_payload: Vec::new(),
        }
    }

    /// From now on layers are not kept each by itself, which costs time.
    pub(crate) fn forget_layers(&mut self) {
        self.keeps_layers = false;
    }

    /// Takes a packet apart.
    pub(crate) fn decode(&mut self, data: &[u8], flags: PacketFlags) {
        self.tunnel = None;
        if self.library == Library::Own {
            self.packet.objects = Objects::default();
        }
        if data.is_empty() {
            self.packet.clear();
            return;
        }
        let first = match flags {
            PacketFlags { layer3_device: true, ipv6: true, .. } => Kind::Ipv6,
            PacketFlags { layer3_device: true, .. } => Kind::Ipv4,
            _ => Kind::Ethernet,
        };
        let tunneled = self.packet.decode(self.library, self.keeps_layers, first, data);
        match self.library {
            Library::V1_1 => {}
            Library::V1_6 => {
                if let Some(tunneled) = tunneled {
                    self.last_payload.clear();
                    self.last_payload.extend_from_slice(tunneled.payload);
                }
                if let Some(kind) = tunnel_kind(flags)
                    && self.packet.malformed.is_none()
                {
                    self.tunnel = Some(kind);
                    self.overlay.decode(self.library, self.keeps_layers, kind, &self.last_payload);
                }
            }
            Library::Own => {
                if let Some(kind) = tunnel_kind(flags)
                    && let Some(tunneled) = tunneled
                {
                    self.tunnel = Some(kind);
                    self.overlay.objects = Objects::default();
                    self.overlay.decode(self.library, self.keeps_layers, kind, tunneled.payload);
                }
            }
        }
    }
}

const fn tunnel_kind(flags: PacketFlags) -> Option<Kind> {
    if flags.vxlan {
        Some(Kind::Vxlan)
    } else if flags.geneve {
        Some(Kind::Geneve)
    } else {
        None
    }
}
