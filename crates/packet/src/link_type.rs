//! What a packet begins with.

/// What a packet begins with, by its number in the registry of link-layer header types
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the host that captured.
    pub const NULL: Self = Self(0);
    /// IEEE 802.3.
    pub const ETHERNET: Self = Self(1);
    /// PPP, address and control before it or not.
    pub const PPP: Self = Self(9);
    /// An IPv4 or IPv6 header, by the number that most systems had for it.
    pub const RAW_BSD: Self = Self(12);
    /// An IPv4 or IPv6 header, by the number that OpenBSD has for it.
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP in frames like those of HDLC, or Cisco's HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPP over Ethernet, without Ethernet's header.
    pub const PPP_ETHER: Self = Self(51);
    /// An IPv4 or IPv6 header.
    pub const RAW: Self = Self(101);
    /// Cisco's HDLC.
    pub const C_HDLC: Self = Self(104);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// Frame Relay.
    pub const FRELAY: Self = Self(107);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// An IPv4 header.
    pub const IPV4: Self = Self(228);
    /// An IPv6 header.
    pub const IPV6: Self = Self(229);
    /// Linux netfilter's log.
    pub const NFLOG: Self = Self(239);
    /// IP over `InfiniBand`.
    pub const IPOIB: Self = Self(242);
    /// What macOS says of a packet, and the packet.
    pub const PKTAP: Self = Self(258);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}
