//! The summary of a packet in Cilium's JSON: each layer as its line, and the ends of each.

use super::{
    Renderer,
    connection::put_address,
    layers::{Tab, put_object},
};
use crate::{
    dissect::{Chain, Kind},
    notification::Captured,
    style::Style,
    text::{put, put_ipv4, put_mac, put_number},
};

/// The keys of layers, in their order.
const KEYS: [(Kind, &str); 10] = [
    (Kind::Ethernet, "\"ethernet\":\""),
    (Kind::Ipv4, "\"ipv4\":\""),
    (Kind::Ipv6, "\"ipv6\":\""),
    (Kind::Tcp, "\"tcp\":\""),
    (Kind::Udp, "\"udp\":\""),
    (Kind::Sctp, "\"sctp\":\""),
    (Kind::Icmpv4, "\"icmpv4\":\""),
    (Kind::Icmpv6, "\"icmpv6\":\""),
    (Kind::Vrrp, "\"vrrp\":\""),
    (Kind::Igmp, "\"igmp\":\""),
];

impl Renderer {
    /// Appends the summary with its key, if the packet has one.
    pub(super) fn summary(&mut self, captured: &Captured<'_>, out: &mut Vec<u8>) {
        if captured.captured_length == 0 || captured.rest.is_empty() {
            return;
        }
        let style = self.options.style;
        self.dissector.decode(captured.rest, captured.flags);
        let outer = &self.dissector.packet;
        if style.is_1_20() && outer.malformed.is_some() {
            return;
        }
        put(out, ",\"summary\":{");
        let inner = &self.dissector.overlay;
        match self.dissector.tunnel.filter(|_| inner.malformed.is_none()) {
            None => put_chain(out, outer, None, style, &mut Separator::default()),
            Some(tunnel) => {
                let mut separator = Separator::default();
                put_chain(out, inner, None, style, &mut separator);
                separator.put(out);
                put(out, "\"tunnel\":{");
                let header = Some((tunnel, inner)).filter(|_| inner.has(tunnel));
                put_chain(out, outer, header, style, &mut Separator::default());
                out.push(b'}');
            }
        }
        out.push(b'}');
    }
}

/// Puts commas between members.
#[derive(Default)]
struct Separator {
    is_needed: bool,
}

impl Separator {
    fn put(&mut self, out: &mut Vec<u8>) {
        if self.is_needed {
            out.push(b',');
        }
        self.is_needed = true;
    }
}

/// Appends the members of a chain, and of a tunnel's outer one its header.
fn put_chain(
    out: &mut Vec<u8>,
    chain: &Chain,
    tunnel: Option<(Kind, &Chain)>,
    style: Style,
    separator: &mut Separator,
) {
    let objects = &chain.objects;
    for (kind, key) in KEYS {
        if chain.has(kind) {
            separator.put(out);
            put(out, key);
            put_object(out, objects, kind, style, Tab::Json);
            out.push(b'"');
        }
    }
    if let Some((kind, inner)) = tunnel {
        separator.put(out);
        put(out, if kind == Kind::Vxlan { "\"vxlan\":\"" } else { "\"geneve\":\"" });
        put_object(out, &inner.objects, kind, style, Tab::Json);
        out.push(b'"');
    }
    if chain.has(Kind::Ethernet) {
        separator.put(out);
        put_ends(
            out,
            "l2",
            |out| put_mac(out, objects.ethernet.source),
            |out| {
                put_mac(out, objects.ethernet.destination);
            },
        );
    }
    // The last one in the packet is what the original is left with.
    let network = chain.decoded.iter().rfind(|kind| matches!(kind, Kind::Ipv4 | Kind::Ipv6));
    match network {
        Some(Kind::Ipv4) => {
            separator.put(out);
            put_ends(
                out,
                "l3",
                |out| put_ipv4(out, objects.ipv4.source),
                |out| {
                    put_ipv4(out, objects.ipv4.destination);
                },
            );
        }
        Some(_) => {
            separator.put(out);
            put_ends(
                out,
                "l3",
                |out| put_address(out, objects.ipv6.source),
                |out| {
                    put_address(out, objects.ipv6.destination);
                },
            );
        }
        None => {}
    }
    let ports = if chain.has(Kind::Tcp) {
        (objects.tcp.source, objects.tcp.destination)
    } else if chain.has(Kind::Udp) {
        (objects.udp.source, objects.udp.destination)
    } else if chain.has(Kind::Sctp) {
        (objects.sctp.source, objects.sctp.destination)
    } else {
        return;
    };
    separator.put(out);
    put_ends(out, "l4", |out| put_number(out, ports.0), |out| put_number(out, ports.1));
}

fn put_ends(
    out: &mut Vec<u8>,
    key: &str,
    source: impl FnOnce(&mut Vec<u8>),
    destination: impl FnOnce(&mut Vec<u8>),
) {
    out.push(b'"');
    put(out, key);
    put(out, "\":{\"src\":\"");
    source(out);
    put(out, "\",\"dst\":\"");
    destination(out);
    put(out, "\"}");
}
