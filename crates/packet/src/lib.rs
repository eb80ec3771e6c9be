//! Packets: bytes taken apart into headers, and files of captured packets.
//!
//! Nothing here asks the kernel, and nothing panics on whatever bytes it is given.

pub mod file;
mod headers;
mod link_type;

pub use headers::{
    Fragment, Headers, Malformed, TcpSegment, Tunnels, Undecodable, decode, decode_common,
    decode_head,
};
pub use link_type::LinkType;

use netglass_model::Timestamp;

/// A packet as it was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was seen.
    pub at: Timestamp,
    /// What it begins with.
    pub link_type: LinkType,
    /// The interface on which it was seen, by its place among those of the capture.
    pub interface: u32,
    /// How many bytes it had on the wire. A file may say of a packet that these are fewer than were
    /// captured.
    pub wire_length: u32,
    /// Those of them that were captured, from the first one on.
    pub bytes: &'a [u8],
}
