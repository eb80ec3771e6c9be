//! What can go wrong with a capture file.

use std::{fmt, io};

use super::MAX_RECORD;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// How many bytes are before it.
    pub bytes: u64,
    /// Whether they are counted in what the file unpacks to.
    pub unpacked: bool,
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "byte {}", self.bytes)?;
        if self.unpacked { formatter.write_str(" of what it unpacks to") } else { Ok(()) }
    }
}

/// What can go wrong with a capture file: what was being done, on which one, why it failed, and
/// what to try. A file is its path, or standard input or output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be opened.
    #[error("cannot open {file}: {reason}; check the path and its permissions")]
    Open {
        /// Which file.
        file: String,
        /// As the system said it.
        reason: io::Error,
    },

    /// It cannot be read on, or what is compressed in it cannot be unpacked.
    #[error("cannot read {file} beyond {offset}: {reason}; the packets before it were read")]
    Read {
        /// Which file.
        file: String,
        /// Up to where it was read.
        offset: Offset,
        /// As the system or the decompressor said it.
        reason: io::Error,
    },

    /// Nothing more of it is there yet.
    #[error("nothing more can be read yet; try again later")]
    Pending,

    /// There is nothing in it.
    #[error("cannot read {file}: it is empty, without even the header of a capture")]
    Empty {
        /// Which file.
        file: String,
    },

    /// It is something else.
    #[error(
        "cannot read {file}: it is no capture in pcap or pcapng format, it begins with \
         {beginning}{advice}"
    )]
    NotCapture {
        /// Which file.
        file: String,
        /// Its first bytes, as numbers and as text.
        beginning: String,
        /// What to do about it, if it is known what it is.
        advice: &'static str,
    },

    /// It ends in the middle of something.
    #[error(
        "{file} is cut off: it ends at {end}, inside of what begins at byte {begin}; the packets \
         before it were read"
    )]
    Cut {
        /// Which file.
        file: String,
        /// Where the packet, block or header begins that is not whole.
        begin: u64,
        /// Where the file ends.
        end: Offset,
    },

    /// It cannot be understood any more.
    #[error("cannot read {file} beyond {offset}: {damage}; the packets before it were read")]
    Damaged {
        /// Which file.
        file: String,
        /// Where the packet or block begins that cannot be understood.
        offset: Offset,
        /// What is wrong with it.
        damage: Damage,
    },

    /// It cannot be made.
    #[error("cannot create {file}: {reason}; check the directory, its permissions and its space")]
    Create {
        /// Which file.
        file: String,
        /// As the system said it.
        reason: io::Error,
    },

    /// Packets could not be written to it.
    #[error(
        "cannot write to {file}: {reason}; it ends with the last whole packet, at byte {end}, and \
         {lost} packets are lost{}",
        advice_for(reason)
    )]
    Write {
        /// Which file.
        file: String,
        /// Where it ends now.
        end: u64,
        /// How many packets were lost by this.
        lost: u64,
        /// As the system said it.
        reason: io::Error,
    },

    /// Standard output is one file.
    #[error("cannot begin another file on standard output; name a file to write to")]
    NotRotatable,

    /// Its name cannot be made of the time.
    #[error(
        "cannot name a file after {pattern}: {reason}; write times as strftime does, as in \
         capture-%Y%m%d-%H%M%S.pcapng"
    )]
    Name {
        /// What was asked for.
        pattern: String,
        /// Why it does not do.
        reason: String,
    },
}

impl FileError {
    /// Whether the file ends too early: whoever captured was stopped, or its disk was full.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Cut { .. })
    }
}

/// What is wrong with a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A packet longer than there are any.
    #[error("a packet of {0} bytes follows, and none has more than {MAX_RECORD}")]
    PacketTooLong(u32),
    /// A packet that is longer than the block that holds it.
    #[error("a packet of {captured} bytes is in a block of {block}")]
    PacketBeyondBlock {
        /// How long the packet is.
        captured: u32,
        /// How long the block is.
        block: u32,
    },
    /// A block that cannot be so long.
    #[error("a block of {0} bytes follows, which cannot be")]
    BlockLength(u32),
    /// A block whose two lengths are not the same.
    #[error("a block says at its beginning that it has {first} bytes, and at its end {second}")]
    BlockLengths {
        /// At its beginning.
        first: u32,
        /// At its end.
        second: u32,
    },
    /// A section whose byte order cannot be known.
    #[error("a section begins with the byte order {0:#010x}, which is none")]
    ByteOrder(u32),
    /// A version of the format that is not known.
    #[error("it is of version {major}.{minor} of its format, which is not known")]
    Version {
        /// The number that changes when older readers cannot read it.
        major: u16,
        /// The other one.
        minor: u16,
    },
    /// A packet of an interface that was not described.
    #[error("a packet is of interface {number}, and {described} are described")]
    Interface {
        /// The interface's number.
        number: u32,
        /// How many there are.
        described: usize,
    },
    /// More interfaces than are kept.
    #[error("more than {0} interfaces are described")]
    TooManyInterfaces(usize),
}

fn advice_for(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or limit what is kept with -C and -W"
        }
        _ => "",
    }
}
