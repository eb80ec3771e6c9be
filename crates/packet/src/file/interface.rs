//! The interfaces of a capture.

use crate::LinkType;

/// An interface of a capture, as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name; empty if the file has none.
    pub name: String,
    /// What its packets begin with.
    pub link_type: LinkType,
    /// How many bytes of a packet are captured at most; 0 if nothing limits them.
    pub snapshot_length: u32,
    /// The filter of the capture, in the language of tcpdump; empty if there was none.
    pub filter: String,
    /// What it had seen by the end.
    pub statistics: InterfaceStatistics,
}

/// What an interface had seen, as far as the file tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Packets that it received (`isb_ifrecv`).
    pub received: Option<u64>,
    /// Those of them that were dropped for lack of room (`isb_ifdrop`).
    pub dropped: Option<u64>,
    /// Those that the system dropped (`isb_osdrop`).
    pub dropped_by_system: Option<u64>,
}
