//! Ethernet types, by the names that the packet library of Cilium gives them.

/// The name of an Ethernet type.
pub(crate) const fn ethernet_type(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0000 => "LLC",
        0x01a2 => "NortelDiscovery",
        0x0712 => "MDP",
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x2000 => "CiscoDiscovery",
        0x6558 => "TransparentEthernetBridging",
        0x8100 | 0x88a8 => "Dot1Q",
        0x86dd => "IPv6",
        0x880b => "PPP",
        0x8847 => "MPLSUnicast",
        0x8848 => "MPLSMulticast",
        0x8863 => "PPPoEDiscovery",
        0x8864 => "PPPoESession",
        0x888e => "EAPOL",
        0x88be => "ERSPAN Type II",
        0x88cc => "LinkLayerDiscovery",
        0x9000 => "EthernetCTP",
        0xffff => "Raw",
        _ => return None,
    })
}
