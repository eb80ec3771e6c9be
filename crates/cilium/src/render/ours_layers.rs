//! Packets in our own JSON: a list of their layers, the outermost first.

use super::{
    Renderer,
    connection::put_connection,
    l7::{number, truth},
    layers::{igmp_type, put_ethernet_type, put_icmpv4_name, put_icmpv6_name},
};
use crate::{
    dissect::{Chain, Layer, Malformed},
    notification::Captured,
    style::Style,
    tables::ip_protocols::ip_protocol,
    text::{put, put_ipv4, put_ipv6, put_json, put_json_text, put_mac, put_number},
};

impl Renderer {
    /// Appends a packet with its key.
    pub(super) fn ours_packet(&mut self, captured: &Captured<'_>, out: &mut Vec<u8>) {
        let packet = captured.packet();
        self.dissector.decode(packet, captured.flags);
        let style = self.options.style;
        number(out, ",\"packet\":{\"length\":", captured.original_length);
        number(out, ",\"captured\":", packet.len());
        put(out, ",\"connection\":");
        put_json(out, |out| put_connection(out, &self.dissector, style));
        let outer = &self.dissector.packet;
        let inner = self.dissector.tunnel.map(|_| &self.dissector.overlay);
        truth(
            out,
            ",\"truncated\":",
            outer.truncated || inner.is_some_and(|inner| inner.truncated),
        );
        put(out, ",\"error\":");
        put_error(out, outer.malformed.or_else(|| inner?.malformed));
        put(out, ",\"layers\":[");
        let start = out.len();
        put_chain(out, outer, style, start);
        if let Some(inner) = inner {
            put_chain(out, inner, style, start);
        }
        put(out, "]}");
    }
}

fn put_error(out: &mut Vec<u8>, malformed: Option<Malformed>) {
    match malformed {
        Some(malformed) => put_json_text(out, &malformed.to_string()),
        None => put(out, "null"),
    }
}

fn put_chain(out: &mut Vec<u8>, chain: &Chain, style: Style, start: usize) {
    for layer in &chain.layers {
        if out.len() > start {
            out.push(b',');
        }
        put_layer(out, layer, style);
        out.push(b'}');
    }
}

/// Appends a layer without the brace at its end.
fn put_layer(out: &mut Vec<u8>, layer: &Layer, style: Style) {
    match layer {
        Layer::Ethernet(it) => {
            put(out, "{\"layer\":\"ethernet\",\"source\":\"");
            put_mac(out, it.source);
            put(out, "\",\"destination\":\"");
            put_mac(out, it.destination);
            put(out, "\",\"type\":\"");
            put_ethernet_type(out, it.ether_type, style);
            out.push(b'"');
        }
        Layer::Vlan(it) => {
            number(out, "{\"layer\":\"vlan\",\"id\":", it.identifier);
            number(out, ",\"priority\":", it.priority);
            put(out, ",\"type\":\"");
            put_ethernet_type(out, it.ether_type, style);
            out.push(b'"');
        }
        Layer::Ipv4(it) => {
            put(out, "{\"layer\":\"ipv4\",\"source\":\"");
            put_ipv4(out, it.source);
            put(out, "\",\"destination\":\"");
            put_ipv4(out, it.destination);
            number(out, "\",\"protocol\":", it.protocol);
            put_protocol_name(out, it.protocol);
            number(out, ",\"ttl\":", it.time_to_live);
            number(out, ",\"length\":", it.length);
            number(out, ",\"id\":", it.identification);
            number(out, ",\"tos\":", it.service);
            truth(out, ",\"dont_fragment\":", it.flags & 2 != 0);
            truth(out, ",\"more_fragments\":", it.flags & 1 != 0);
            number(out, ",\"fragment_offset\":", it.fragment_offset);
        }
        Layer::Ipv6(it) => {
            put(out, "{\"layer\":\"ipv6\",\"source\":\"");
            put_ipv6(out, it.source);
            put(out, "\",\"destination\":\"");
            put_ipv6(out, it.destination);
            let has_options = it.has_hop_by_hop;
            let next = if has_options { it.hop_by_hop.next_header } else { it.next_header };
            number(out, "\",\"protocol\":", next);
            put_protocol_name(out, next);
            number(out, ",\"hop_limit\":", it.hop_limit);
            number(out, ",\"length\":", it.length);
            number(out, ",\"traffic_class\":", it.traffic_class);
            number(out, ",\"flow_label\":", it.flow_label);
            truth(out, ",\"hop_by_hop\":", has_options);
        }
        Layer::Tcp(it) => {
            put_ports(out, "{\"layer\":\"tcp\"", it.source, it.destination);
            put(out, ",\"flags\":[");
            put_flags(out, it.flags);
            number(out, "],\"sequence\":", it.sequence);
            number(out, ",\"acknowledgment\":", it.acknowledgment);
            number(out, ",\"window\":", it.window);
        }
        Layer::Udp(it) => {
            put_ports(out, "{\"layer\":\"udp\"", it.source, it.destination);
            number(out, ",\"length\":", it.length);
        }
        Layer::Sctp(it) => {
            put_ports(out, "{\"layer\":\"sctp\"", it.source, it.destination);
            number(out, ",\"verification_tag\":", it.verification_tag);
        }
        Layer::Icmpv4(it) => {
            put_icmp(out, "icmpv4", it.kind, it.code, put_icmpv4_name);
            number(out, ",\"id\":", it.identifier);
            number(out, ",\"sequence\":", it.sequence);
        }
        Layer::Icmpv6(it) => put_icmp(out, "icmpv6", it.kind, it.code, put_icmpv6_name),
        Layer::Vrrp(it) => {
            number(out, "{\"layer\":\"vrrp\",\"type\":", it.kind);
            number(out, ",\"router\":", it.router);
            number(out, ",\"priority\":", it.priority);
        }
        Layer::Igmp(it) => {
            number(out, "{\"layer\":\"igmp\",\"type\":", it.kind);
            put(out, ",\"name\":");
            put_json_text(out, igmp_type(it.kind));
            put(out, ",\"group\":\"");
            put_ipv4(out, it.group);
            out.push(b'"');
        }
        Layer::Vxlan(it) => number(out, "{\"layer\":\"vxlan\",\"network\":", it.network),
        Layer::Geneve(it) => number(out, "{\"layer\":\"geneve\",\"network\":", it.network),
    }
}

fn put_protocol_name(out: &mut Vec<u8>, protocol: u8) {
    put(out, ",\"protocol_name\":");
    match ip_protocol(protocol) {
        Some(name) => put_json_text(out, name),
        None => put(out, "null"),
    }
}

fn put_ports(out: &mut Vec<u8>, begin: &str, source: u16, destination: u16) {
    put(out, begin);
    number(out, ",\"source_port\":", source);
    number(out, ",\"destination_port\":", destination);
}

fn put_flags(out: &mut Vec<u8>, flags: u8) {
    const NAMES: [&str; 8] =
        ["\"FIN\"", "\"SYN\"", "\"RST\"", "\"PSH\"", "\"ACK\"", "\"URG\"", "\"ECE\"", "\"CWR\""];
    let mut is_first = true;
    for (_, name) in NAMES.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1) {
        put(out, if is_first { "" } else { "," });
        is_first = false;
        put(out, name);
    }
}

fn put_icmp(out: &mut Vec<u8>, name: &str, kind: u8, code: u8, write: fn(&mut Vec<u8>, u8, u8)) {
    put(out, "{\"layer\":\"");
    put(out, name);
    number(out, "\",\"type\":", kind);
    put(out, ",\"code\":");
    put_number(out, code);
    put(out, ",\"name\":");
    put_json(out, |out| write(out, kind, code));
}
