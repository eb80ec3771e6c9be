//! Packets from the interfaces of this host, and the filters that choose among them.
//!
//! [`Capture`] takes packets from any number of interfaces on the thread of its caller, keeps to
//! interfaces that come and go, and tells what became of each packet that the kernel saw. [`Filter`]
//! chooses packets of files in the same language.

mod filter;
pub(crate) mod link;
pub(crate) mod pattern;
mod program;
mod ring;
mod set;
mod statistics;

use std::time::Duration;

use netglass_packet::LinkType;

pub use filter::Filter;
#[cfg(feature = "ebpf")]
pub(crate) use ring::Promiscuous;
pub use set::{Capture, InterfaceEvent, InterfaceNews, Reading};
pub use statistics::{Interface, InterfaceStatistics};

/// What is captured, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureOptions {
    /// The interfaces: names, patterns with `*` and `?`, or `any` for all that there are.
    ///
    /// `any` is one ring of packets in Linux cooked form for all interfaces, as in tcpdump: packets
    /// for other hosts are in it only where something else has made their interface promiscuous.
    pub interfaces: Vec<String>,
    /// Which packets, in the language of pcap-filter(7); all of them where it is empty.
    pub filter: String,
    /// Whether packets for other hosts are asked for too.
    pub promiscuous: bool,
    /// How many bytes of a packet are captured at most.
    pub snapshot_length: u32,
    /// How many bytes of packets the kernel keeps for us, for each interface. Where there are many
    /// interfaces, those that come last get less, so that all have 1 GiB or this much together.
    pub buffer_size: usize,
    /// After how long the kernel hands out what it has, though there is room for more of it.
    pub delay: Duration,
}

impl CaptureOptions {
    /// The longest packet that is captured whole, as in tcpdump.
    pub const WHOLE_PACKETS: u32 = 262_144;
    /// 220 thousand packets of 60 bytes, or 20 thousand full ones of Ethernet.
    pub const BUFFER_SIZE: usize = 32 << 20;
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            filter: String::new(),
            promiscuous: true,
            snapshot_length: Self::WHOLE_PACKETS,
            buffer_size: Self::BUFFER_SIZE,
            delay: Duration::from_millis(50),
        }
    }
}

/// libpcap's numbers for what a packet begins with (`DLT_…`) are those of the registry, but for the
/// few that are not the same on all systems.
const DIFFERENT: [(i32, LinkType); 1] = [(12, LinkType::RAW)];

fn link_type_of(linktype: pcap::Linktype) -> LinkType {
    let different = DIFFERENT.iter().find(|(number, _)| *number == linktype.0);
    different.map_or_else(
        || LinkType(u16::try_from(linktype.0).unwrap_or(u16::MAX)),
        |(_, link_type)| *link_type,
    )
}

fn linktype_of(link_type: LinkType) -> pcap::Linktype {
    let different = DIFFERENT.iter().find(|(_, different)| *different == link_type);
    pcap::Linktype(different.map_or(i32::from(link_type.0), |(number, _)| *number))
}

/// What libpcap says, without its name before it.
fn reason(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(reason) => reason.trim().to_owned(),
        other => other.to_string(),
    }
}
