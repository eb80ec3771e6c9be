//! Files of captured packets: read in whatever format they are, written as pcapng.
//!
//! The formats are those of <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/> and
//! <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/>.

mod buffer;
mod byte_order;
mod chains;
mod error;
mod heads;
mod interface;
mod memory;
mod pcap;
mod pcapng;
mod reader;
mod rotation;
mod source;
mod windows;
mod writer;

pub use error::{Damage, FileError, Offset};
pub use heads::TakeHeads;
pub use interface::{Interface, InterfaceStatistics};
pub use memory::{FileMemory, MOST_SHOWN, PIECE, WINDOW};
pub use reader::{Batch, Reader};
pub use rotation::{Rotation, RotationSettings, Written, parse_file_size};
pub use writer::{Notes, Section, Writer};

#[cfg(test)]
mod tests;

/// No packet has more bytes, and no block that is looked into: a length beyond it is not one. The
/// largest datagrams of IPv6 as Linux hands them over (BIG TCP) have half a MiB.
const MAX_RECORD: usize = 16 << 20;

/// A packet in the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    at: netglass_model::Timestamp,
    /// Where its first byte is.
    start: usize,
    captured: u32,
    wire_length: u32,
    interface: u32,
    link_type: crate::LinkType,
}

impl Record {
    /// None, where there is room for one.
    const NONE: Self = Self {
        at: netglass_model::Timestamp::MIN,
        start: 0,
        captured: 0,
        wire_length: 0,
        interface: 0,
        link_type: crate::LinkType(0),
    };

    /// The packet, with these of its bytes.
    #[inline]
    fn packet<'a>(&self, bytes: &'a [u8]) -> crate::Packet<'a> {
        crate::Packet {
            at: self.at,
            link_type: self.link_type,
            interface: self.interface,
            wire_length: self.wire_length,
            bytes,
        }
    }
}

/// What a file has at the place where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A packet, and how many bytes of the file are about it.
    Packet(Record, usize),
    /// Something else, of so many bytes.
    Other(u64),
    /// Something that was not read whole.
    Short,
}
