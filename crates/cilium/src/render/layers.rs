//! Layers as lines: a name, and all fields in the order in which the packet library of Cilium has them.

use crate::{
    dissect::{
        Ethernet, Geneve, HopByHop, Icmpv4, Icmpv6, Igmp, Ipv4, Ipv6, Kind, Layer, Objects, Sctp,
        Shown, Tcp, Udp, Vlan, Vrrp, Vxlan,
        layer::{MOST_SHOWN, put_count},
        multipath_tcp, tcp,
    },
    style::Style,
    tables::{
        ethernet_types::ethernet_type,
        icmpv4, icmpv6,
        ip_protocols::ip_protocol,
        ports::{PortProtocol, port_name},
    },
    text::{put, put_bytes, put_ipv4, put_mac, put_number, put_prefixed_hexadecimal},
};

/// What is between a layer's name and its fields.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tab {
    /// A tab.
    Plain,
    /// A tab in a string of JSON.
    Json,
}

impl Tab {
    const fn text(self) -> &'static str {
        match self {
            Self::Plain => "\t",
            Self::Json => "\\t",
        }
    }
}

/// Appends one of the objects that layers are decoded into.
pub(super) fn put_object(out: &mut Vec<u8>, objects: &Objects, kind: Kind, style: Style, tab: Tab) {
    match kind {
        Kind::Ethernet => put_ethernet(out, &objects.ethernet, style, tab),
        Kind::Vlan => put_vlan(out, &objects.vlan, style, tab),
        Kind::Ipv4 => put_ipv4_header(out, &objects.ipv4, tab),
        Kind::Ipv6 => put_ipv6_header(out, &objects.ipv6, tab),
        Kind::Icmpv4 => put_icmpv4(out, &objects.icmpv4, tab),
        Kind::Icmpv6 => put_icmpv6(out, &objects.icmpv6, tab),
        Kind::Tcp => put_tcp(out, &objects.tcp, style, tab),
        Kind::Udp => put_udp(out, &objects.udp, style, tab),
        Kind::Sctp => put_sctp(out, &objects.sctp, style, tab),
        Kind::Vrrp => put_vrrp(out, &objects.vrrp, tab),
        Kind::Igmp => put_igmp(out, objects.igmp, tab),
        Kind::Vxlan => put_vxlan(out, &objects.vxlan, tab),
        Kind::Geneve => put_geneve(out, &objects.geneve, style, tab),
    }
}

/// Appends a layer by itself.
pub(super) fn put_layer(out: &mut Vec<u8>, layer: &Layer, style: Style, tab: Tab) {
    match layer {
        Layer::Ethernet(it) => put_ethernet(out, it, style, tab),
        Layer::Vlan(it) => put_vlan(out, it, style, tab),
        Layer::Ipv4(it) => put_ipv4_header(out, it, tab),
        Layer::Ipv6(it) => put_ipv6_header(out, it, tab),
        Layer::Icmpv4(it) => put_icmpv4(out, it, tab),
        Layer::Icmpv6(it) => put_icmpv6(out, it, tab),
        Layer::Tcp(it) => put_tcp(out, it, style, tab),
        Layer::Udp(it) => put_udp(out, it, style, tab),
        Layer::Sctp(it) => put_sctp(out, it, style, tab),
        Layer::Vrrp(it) => put_vrrp(out, it, tab),
        Layer::Igmp(it) => put_igmp(out, *it, tab),
        Layer::Vxlan(it) => put_vxlan(out, it, tab),
        Layer::Geneve(it) => put_geneve(out, it, style, tab),
    }
}

fn begin(out: &mut Vec<u8>, name: &str, tab: Tab, contents: Shown, payload: Shown) {
    put(out, name);
    put(out, tab.text());
    put(out, "{Contents=");
    contents.put(out);
    put(out, " Payload=");
    payload.put(out);
}

fn field(out: &mut Vec<u8>, name: &str, number: impl TryInto<i128>) {
    put(out, name);
    put_number(out, number);
}

fn truth(out: &mut Vec<u8>, name: &str, value: bool) {
    put(out, name);
    put(out, if value { "true" } else { "false" });
}

/// A list of which each element is written by `element`; of a long one, how many elements it has.
fn list<T>(
    out: &mut Vec<u8>,
    count: usize,
    elements: impl Iterator<Item = T>,
    mut element: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    if count > MOST_SHOWN {
        put_count(out, count);
    } else {
        for (index, value) in elements.take(count).enumerate() {
            if index > 0 {
                put(out, ", ");
            }
            element(out, value);
        }
    }
    out.push(b']');
}

/// Appends the name of an Ethernet type.
pub(super) fn put_ethernet_type(out: &mut Vec<u8>, number: u16, style: Style) {
    // Those are newer than the old library.
    let is_new = matches!(number, 0x0712 | 0x88be | 0xffff);
    let name = ethernet_type(number).filter(|_| !(is_new && style.is_1_5()));
    match name {
        Some(name) => put(out, name),
        None if style.is_ours() => put_prefixed_hexadecimal(out, number.into()),
        None => put(out, "UnknownEthernetType"),
    }
}

fn put_protocol(out: &mut Vec<u8>, number: u8) {
    put(out, ip_protocol(number).unwrap_or("UnknownIPProtocol"));
}

fn put_port(out: &mut Vec<u8>, style: Style, protocol: PortProtocol, port: u16) {
    put_number(out, port);
    if let Some(name) = port_name(style.registry(), protocol, port) {
        out.push(b'(');
        put(out, name);
        out.push(b')');
    }
}

fn put_ethernet(out: &mut Vec<u8>, layer: &Ethernet, style: Style, tab: Tab) {
    begin(out, "Ethernet", tab, layer.contents, layer.payload);
    put(out, " SrcMAC=");
    put_mac(out, layer.source);
    put(out, " DstMAC=");
    put_mac(out, layer.destination);
    put(out, " EthernetType=");
    put_ethernet_type(out, layer.ether_type, style);
    field(out, " Length=", layer.length);
    out.push(b'}');
}

fn put_vlan(out: &mut Vec<u8>, layer: &Vlan, style: Style, tab: Tab) {
    begin(out, "Dot1Q", tab, layer.contents, layer.payload);
    field(out, " Priority=", layer.priority);
    truth(out, " DropEligible=", layer.drop_eligible);
    field(out, " VLANIdentifier=", layer.identifier);
    put(out, " Type=");
    put_ethernet_type(out, layer.ether_type, style);
    out.push(b'}');
}

fn put_ipv4_header(out: &mut Vec<u8>, layer: &Ipv4, tab: Tab) {
    begin(out, "IPv4", tab, layer.contents, layer.payload);
    field(out, " Version=", layer.version);
    field(out, " IHL=", layer.header_words);
    field(out, " TOS=", layer.service);
    field(out, " Length=", layer.length);
    field(out, " Id=", layer.identification);
    put(out, " Flags=");
    put(
        out,
        ["", "MF", "DF", "DF|MF", "Evil", "Evil|MF", "Evil|DF", "Evil|DF|MF"]
            [usize::from(layer.flags & 7)],
    );
    field(out, " FragOffset=", layer.fragment_offset);
    field(out, " TTL=", layer.time_to_live);
    put(out, " Protocol=");
    put_protocol(out, layer.protocol);
    field(out, " Checksum=", layer.checksum);
    put(out, " SrcIP=");
    put_ipv4(out, layer.source);
    put(out, " DstIP=");
    put_ipv4(out, layer.destination);
    put(out, " Options=");
    list(out, layer.option_count, layer.options(), |out, (kind, data)| {
        put(out, "IPv4Option(");
        put_number(out, kind);
        put(out, ":[");
        for (index, byte) in data.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            put_number(out, *byte);
        }
        put(out, "])");
    });
    put(out, " Padding=");
    layer.padding.put(out);
    out.push(b'}');
}

fn put_ipv6_header(out: &mut Vec<u8>, layer: &Ipv6, tab: Tab) {
    begin(out, "IPv6", tab, layer.contents, layer.payload);
    field(out, " Version=", layer.version);
    field(out, " TrafficClass=", layer.traffic_class);
    field(out, " FlowLabel=", layer.flow_label);
    field(out, " Length=", layer.length);
    put(out, " NextHeader=");
    put_protocol(out, layer.next_header);
    field(out, " HopLimit=", layer.hop_limit);
    put(out, " SrcIP=");
    super::connection::put_address(out, layer.source);
    put(out, " DstIP=");
    super::connection::put_address(out, layer.destination);
    put(out, " HopByHop=");
    if layer.has_hop_by_hop {
        put_hop_by_hop(out, &layer.hop_by_hop);
    } else {
        put(out, "nil");
    }
    out.push(b'}');
}

fn put_hop_by_hop(out: &mut Vec<u8>, header: &HopByHop) {
    put(out, "{ Contents=");
    header.contents.put(out);
    put(out, " Payload=");
    header.payload.put(out);
    put(out, " NextHeader=");
    put_protocol(out, header.next_header);
    field(out, " HeaderLength=", header.header_length);
    field(out, " ActualLength=", header.actual_length());
    put(out, " Options=");
    list(out, header.option_count, header.options.iter(), |out, option| {
        field(out, "{OptionType=", option.kind);
        field(out, " OptionLength=", option.length);
        field(out, " ActualLength=", option.actual_length);
        put(out, " OptionData=");
        option.data.put(out);
        put(out, " OptionAlignment=[0 0]}");
    });
    out.push(b'}');
}

/// Appends the name of a type and code of ICMP.
pub(super) fn put_type_and_code(
    out: &mut Vec<u8>,
    name: Option<&str>,
    code_name: Option<&str>,
    kind: u8,
    code: u8,
    has_codes: bool,
) {
    match (name, code_name) {
        (None, _) => {
            put_number(out, kind);
            field(out, "(", code);
            out.push(b')');
        }
        (Some(name), Some(code_name)) => {
            put(out, name);
            out.push(b'(');
            put(out, code_name);
            out.push(b')');
        }
        (Some(name), None) if code == 0 && !has_codes => put(out, name),
        (Some(name), None) => {
            put(out, name);
            field(out, "(Code: ", code);
            out.push(b')');
        }
    }
}

/// Appends the name of a type and code of ICMP for IPv4.
pub(super) fn put_icmpv4_name(out: &mut Vec<u8>, kind: u8, code: u8) {
    let has_codes = icmpv4::code_name(kind, 0).is_some();
    let (name, code_name) = (icmpv4::type_name(kind), icmpv4::code_name(kind, code));
    put_type_and_code(out, name, code_name, kind, code, has_codes);
}

/// Appends the name of a type and code of ICMP for IPv6.
pub(super) fn put_icmpv6_name(out: &mut Vec<u8>, kind: u8, code: u8) {
    let has_codes = icmpv6::code_name(kind, 0).is_some();
    let (name, code_name) = (icmpv6::type_name(kind), icmpv6::code_name(kind, code));
    put_type_and_code(out, name, code_name, kind, code, has_codes);
}

fn put_icmpv4(out: &mut Vec<u8>, layer: &Icmpv4, tab: Tab) {
    begin(out, "ICMPv4", tab, layer.contents, layer.payload);
    put(out, " TypeCode=");
    put_icmpv4_name(out, layer.kind, layer.code);
    field(out, " Checksum=", layer.checksum);
    field(out, " Id=", layer.identifier);
    field(out, " Seq=", layer.sequence);
    out.push(b'}');
}

fn put_icmpv6(out: &mut Vec<u8>, layer: &Icmpv6, tab: Tab) {
    begin(out, "ICMPv6", tab, layer.contents, layer.payload);
    put(out, " TypeCode=");
    put_icmpv6_name(out, layer.kind, layer.code);
    field(out, " Checksum=", layer.checksum);
    put(out, " TypeBytes=[]}");
}

fn put_tcp(out: &mut Vec<u8>, layer: &Tcp, style: Style, tab: Tab) {
    const FLAGS: [&str; 8] =
        [" FIN=", " SYN=", " RST=", " PSH=", " ACK=", " URG=", " ECE=", " CWR="];
    begin(out, "TCP", tab, layer.contents, layer.payload);
    put(out, " SrcPort=");
    put_port(out, style, PortProtocol::Tcp, layer.source);
    put(out, " DstPort=");
    put_port(out, style, PortProtocol::Tcp, layer.destination);
    field(out, " Seq=", layer.sequence);
    field(out, " Ack=", layer.acknowledgment);
    field(out, " DataOffset=", layer.data_offset);
    for (bit, name) in FLAGS.into_iter().enumerate() {
        truth(out, name, layer.flags >> bit & 1 == 1);
    }
    truth(out, " NS=", layer.nonce_sum);
    field(out, " Window=", layer.window);
    field(out, " Checksum=", layer.checksum);
    field(out, " Urgent=", layer.urgent);
    put(out, " Options=");
    list(out, layer.option_count, layer.options(), |out, (kind, option)| {
        put_tcp_option(out, kind, option, style);
    });
    put(out, " Padding=");
    layer.padding.put(out);
    if !style.is_1_5() {
        truth(out, " Multipath=", layer.multipath);
    }
    out.push(b'}');
}

fn put_tcp_option(out: &mut Vec<u8>, kind: u8, option: &[u8], style: Style) {
    const NAMES: [&str; 16] = [
        "EndList",
        "NOP",
        "MSS",
        "WindowScale",
        "SACKPermitted",
        "SACK",
        "Echo",
        "EchoReply",
        "Timestamps",
        "PartialOrderConnectionPermitted",
        "PartialOrderServiceProfile",
        "CC",
        "CCNew",
        "CCEcho",
        "AltChecksum",
        "AltChecksumData",
    ];
    let is_multipath = kind == tcp::MULTIPATH && !style.is_1_5();
    if is_multipath && put_multipath(out, option) {
        return;
    }
    put(out, "TCPOption(");
    match NAMES.get(usize::from(kind)) {
        Some(name) => put(out, name),
        None if is_multipath => put(out, "MultipathTCP"),
        None => {
            field(out, "Unknown(", kind);
            out.push(b')');
        }
    }
    out.push(b':');
    let data = if is_multipath { &[] } else { option.get(2..).unwrap_or_default() };
    match (kind, data) {
        (2, [a, b, ..]) => put_number(out, u16::from_be_bytes([*a, *b])),
        (8, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
            put_number(out, u32::from_be_bytes([v0, v1, v2, v3]));
            out.push(b'/');
            put_number(out, u32::from_be_bytes([e0, e1, e2, e3]));
        }
        _ => {}
    }
    if !data.is_empty() {
        put(out, " 0x");
        put_bytes(out, data);
    }
    out.push(b')');
}

/// Appends a multipath option, if its subtype is known.
fn put_multipath(out: &mut Vec<u8>, option: &[u8]) -> bool {
    let [_, length, first, more @ ..] = option else { return false };
    let Some(name) = multipath_tcp::SUBTYPES.get(usize::from(first >> 4)) else { return false };
    let address = more.first().copied().unwrap_or_default();
    put(out, "MPTCPOption(");
    put(out, name);
    match first >> 4 {
        0 => field(out, " Version ", first & 0x0f),
        1 => {
            // The third message of a join has neither.
            let has_address = *length != 24;
            truth(out, " Backup ", has_address && first & 1 != 0);
            field(out, ";Address ID ", if has_address { address } else { 0 });
        }
        3 => put_advertised(out, *first, usize::from(*length), more),
        4 => {
            put(out, " Address ID [");
            for (index, byte) in more.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                put_number(out, *byte);
            }
            out.push(b']');
        }
        5 => {
            truth(out, " Backup ", first & 1 != 0);
            field(out, ";Address ID ", if *length == 4 { address } else { 0 });
        }
        8 => {
            truth(out, " Transient ", first & 1 != 0);
            field(out, "; Reason ", address);
        }
        _ => {}
    }
    out.push(b')');
    true
}

fn put_advertised(out: &mut Vec<u8>, first: u8, length: usize, more: &[u8]) {
    let bits = first & 0x0f;
    let hmac = if bits > 1 || bits & 1 != 0 { 0 } else { 8 };
    let [identifier, address @ ..] = more else { return };
    field(out, " Address ID ", *identifier);
    put(out, ";Address ");
    let address_length = if matches!(length.saturating_sub(hmac), 20 | 22) { 16 } else { 4 };
    let (own, behind) = address.split_at_checked(address_length).unwrap_or((address, &[]));
    if let Some(bytes) = own.first_chunk::<16>() {
        super::connection::put_address(out, *bytes);
    } else if let Some(bytes) = own.first_chunk::<4>() {
        put_ipv4(out, *bytes);
    }
    let has_port = matches!(length.saturating_sub(hmac), 10 | 22);
    let port = behind.first_chunk().filter(|_| has_port);
    field(out, ";Port ", port.map_or(0, |bytes| u16::from_be_bytes(*bytes)));
}

fn put_udp(out: &mut Vec<u8>, layer: &Udp, style: Style, tab: Tab) {
    begin(out, "UDP", tab, layer.contents, layer.payload);
    put(out, " SrcPort=");
    put_port(out, style, PortProtocol::Udp, layer.source);
    put(out, " DstPort=");
    put_port(out, style, PortProtocol::Udp, layer.destination);
    field(out, " Length=", layer.length);
    field(out, " Checksum=", layer.checksum);
    out.push(b'}');
}

fn put_sctp(out: &mut Vec<u8>, layer: &Sctp, style: Style, tab: Tab) {
    begin(out, "SCTP", tab, layer.contents, layer.payload);
    put(out, " SrcPort=");
    put_port(out, style, PortProtocol::Sctp, layer.source);
    put(out, " DstPort=");
    put_port(out, style, PortProtocol::Sctp, layer.destination);
    field(out, " VerificationTag=", layer.verification_tag);
    field(out, " Checksum=", layer.checksum);
    out.push(b'}');
}

/// The name of a type of VRRP.
pub(super) const fn vrrp_type(kind: u8) -> &'static str {
    if kind == 1 { "VRRPv2 Advertisement" } else { "" }
}

fn put_vrrp(out: &mut Vec<u8>, layer: &Vrrp, tab: Tab) {
    begin(out, "VRRP", tab, layer.contents, Shown::default());
    field(out, " Version=", layer.version);
    put(out, " Type=");
    put(out, vrrp_type(layer.kind));
    field(out, " VirtualRtrID=", layer.router);
    field(out, " Priority=", layer.priority);
    field(out, " CountIPAddr=", layer.address_count);
    put(out, " AuthType=");
    put(
        out,
        match layer.authentication {
            0 => "No Authentication",
            1 | 2 => "Reserved",
            _ => "",
        },
    );
    field(out, " AdverInt=", layer.interval);
    field(out, " Checksum=", layer.checksum);
    put(out, " IPAddress=");
    list(out, layer.address_count.into(), layer.addresses.iter(), |out, address| {
        put_ipv4(out, *address);
    });
    out.push(b'}');
}

/// The name of a type of IGMP.
pub(super) const fn igmp_type(kind: u8) -> &'static str {
    match kind {
        0x11 => "IGMP Membership Query",
        0x12 => "IGMPv1 Membership Report",
        0x16 => "IGMPv2 Membership Report",
        0x17 => "Leave Group",
        0x22 => "IGMPv3 Membership Report",
        _ => "",
    }
}

fn put_igmp(out: &mut Vec<u8>, layer: Igmp, tab: Tab) {
    begin(out, "IGMP", tab, Shown::default(), Shown::default());
    put(out, " Type=");
    put(out, igmp_type(layer.kind));
    put(out, " MaxResponseTime=");
    match layer.most_response_time {
        0 => put(out, "0s"),
        tenths @ 1..10 => {
            put_number(out, u16::from(tenths) * 100);
            put(out, "ms");
        }
        tenths => {
            put_number(out, tenths / 10);
            if tenths % 10 > 0 {
                field(out, ".", tenths % 10);
            }
            out.push(b's');
        }
    }
    field(out, " Checksum=", layer.checksum);
    put(out, " GroupAddress=");
    put_ipv4(out, layer.group);
    put(out, " Version=0}");
}

fn put_vxlan(out: &mut Vec<u8>, layer: &Vxlan, tab: Tab) {
    begin(out, "VXLAN", tab, layer.contents, layer.payload);
    truth(out, " ValidIDFlag=", layer.has_network);
    field(out, " VNI=", layer.network);
    truth(out, " GBPExtension=", layer.has_group_policy);
    truth(out, " GBPDontLearn=", layer.dont_learn);
    truth(out, " GBPApplied=", layer.is_applied);
    field(out, " GBPGroupPolicyID=", layer.group_policy);
    out.push(b'}');
}

fn put_geneve(out: &mut Vec<u8>, layer: &Geneve, style: Style, tab: Tab) {
    begin(out, "Geneve", tab, layer.contents, layer.payload);
    field(out, " Version=", layer.version);
    field(out, " OptionsLength=", layer.options_length);
    truth(out, " OAMPacket=", layer.is_control);
    truth(out, " CriticalOption=", layer.is_critical);
    put(out, " Protocol=");
    put_ethernet_type(out, layer.protocol, style);
    field(out, " VNI=", layer.network);
    put(out, " Options=");
    list(out, layer.option_count, layer.options.iter(), |out, option| {
        field(out, "{Class=", option.class);
        field(out, " Type=", option.kind);
        field(out, " Flags=", option.flags);
        field(out, " Length=", option.length);
        put(out, " Data=");
        option.data.put(out);
        out.push(b'}');
    });
    out.push(b'}');
}
