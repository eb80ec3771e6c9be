//! Files put together by hand, independently of what writes them.

use std::io::{Cursor, Read};

use netglass_model::Timestamp;

use crate::{
    LinkType, Packet,
    file::{FileError, Interface, Reader},
};

/// A packet that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) at: i64,
    pub(super) link_type: LinkType,
    pub(super) interface: u32,
    pub(super) wire_length: u32,
    pub(super) bytes: Vec<u8>,
}

impl Owned {
    pub(super) fn new(
        at: i64,
        link_type: LinkType,
        interface: u32,
        wire_length: u32,
        bytes: &[u8],
    ) -> Self {
        Self { at, link_type, interface, wire_length, bytes: bytes.to_vec() }
    }

    pub(super) fn packet(&self) -> Packet<'_> {
        Packet {
            at: Timestamp::from_nanoseconds(self.at),
            link_type: self.link_type,
            interface: self.interface,
            wire_length: self.wire_length,
            bytes: &self.bytes,
        }
    }
}

/// The packets of a file, and the error with which it ends, if it does.
pub(super) fn read(file: &[u8]) -> (Vec<Owned>, Option<FileError>) {
    let (packets, _, end) = read_from(Cursor::new(file.to_vec()));
    (packets, end)
}

/// The packets of a file without fault.
pub(super) fn read_whole(file: &[u8]) -> Vec<Owned> {
    let (packets, end) = read(file);
    assert!(end.is_none(), "{end:?}");
    packets
}

/// The interfaces of a file, and the error with which it ends, if it does.
pub(super) fn interfaces(file: &[u8]) -> (Vec<Interface>, Option<FileError>) {
    let (_, interfaces, end) = read_from(Cursor::new(file.to_vec()));
    (interfaces, end)
}

pub(super) fn read_from(
    source: impl Read + Send + 'static,
) -> (Vec<Owned>, Vec<Interface>, Option<FileError>) {
    let mut packets = Vec::new();
    let mut reader = match Reader::new("x.pcap", source) {
        Ok(reader) => reader,
        Err(error) => return (packets, Vec::new(), Some(error)),
    };
    loop {
        match reader.next_batch() {
            Ok(batch) if batch.is_empty() => break,
            Ok(batch) => packets.extend(batch.packets().map(|packet| Owned {
                at: packet.at.as_nanoseconds(),
                link_type: packet.link_type,
                interface: packet.interface,
                wire_length: packet.wire_length,
                bytes: packet.bytes.to_vec(),
            })),
            Err(FileError::Pending) => {}
            Err(error) => return (packets, reader.interfaces().to_vec(), Some(error)),
        }
    }
    (packets, reader.interfaces().to_vec(), None)
}

/// A file in pcap format.
pub(super) struct Pcap {
    pub(super) big: bool,
    pub(super) magic: u32,
    pub(super) version: (u16, u16),
}

impl Default for Pcap {
    fn default() -> Self {
        Self { big: false, magic: 0xa1b2_c3d4, version: (2, 4) }
    }
}

impl Pcap {
    /// One with these packets: seconds, their fraction, bytes and length on the wire.
    pub(super) fn file(&self, packets: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let word = |word| if self.big { u32::to_be_bytes(word) } else { word.to_le_bytes() };
        let half = |half| if self.big { u16::to_be_bytes(half) } else { half.to_le_bytes() };
        let mut file = word(self.magic).to_vec();
        file.extend([half(self.version.0), half(self.version.1)].as_flattened());
        file.extend([word(0), word(0), word(65_535), word(1)].as_flattened());
        for (seconds, fraction, bytes, wire) in packets {
            let captured = u32::try_from(bytes.len()).unwrap();
            file.extend([word(*seconds), word(*fraction)].as_flattened());
            file.extend([word(captured), word(*wire)].as_flattened());
            if self.magic == 0xa1b2_cd34 {
                file.extend([0; 8]);
            }
            file.extend_from_slice(bytes);
        }
        file
    }
}

/// Blocks in pcapng format.
pub(super) mod ng {
    fn word(big: bool, word: u32) -> [u8; 4] {
        if big { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    fn half(big: bool, half: u16) -> [u8; 2] {
        if big { half.to_be_bytes() } else { half.to_le_bytes() }
    }

    fn padded(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn options(big: bool, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, value) in options {
            bytes.extend(half(big, *code));
            bytes.extend(half(big, u16::try_from(value.len()).unwrap()));
            bytes.extend(padded(value));
        }
        bytes
    }

    pub(in super::super) fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
        let length = word(big, u32::try_from(body.len() + 12).unwrap());
        [&word(big, kind)[..], &length, body, &length].concat()
    }

    pub(in super::super) fn section(big: bool) -> Vec<u8> {
        let start = [word(big, 0x1a2b_3c4d).to_vec(), half(big, 1).to_vec(), half(big, 0).to_vec()];
        block(big, 0x0a0d_0d0a, &[start.concat(), vec![0xff; 8]].concat())
    }

    pub(in super::super) fn interface(
        big: bool,
        link_type: u16,
        snapshot_length: u32,
        with: &[(u16, &[u8])],
    ) -> Vec<u8> {
        let start = [half(big, link_type), [0; 2]].concat();
        let body = [start, word(big, snapshot_length).to_vec(), options(big, with)];
        block(big, 1, &body.concat())
    }

    pub(in super::super) fn packet(
        big: bool,
        interface: u32,
        at: u64,
        bytes: &[u8],
        wire: u32,
        with: &[(u16, &[u8])],
    ) -> Vec<u8> {
        let start = word(big, interface).to_vec();
        block(big, 6, &[start, times(big, at, bytes, wire), options(big, with)].concat())
    }

    pub(in super::super) fn obsolete_packet(
        big: bool,
        interface: u16,
        at: u64,
        bytes: &[u8],
        wire: u32,
    ) -> Vec<u8> {
        let start = [half(big, interface), half(big, 9)].concat();
        block(big, 2, &[start, times(big, at, bytes, wire)].concat())
    }

    fn times(big: bool, at: u64, bytes: &[u8], wire: u32) -> Vec<u8> {
        let captured = u32::try_from(bytes.len()).unwrap();
        let (high, low) =
            (u32::try_from(at >> 32).unwrap(), u32::try_from(at & 0xffff_ffff).unwrap());
        let words = [high, low, captured, wire].map(|number| word(big, number));
        [words.as_flattened(), &padded(bytes)].concat()
    }

    pub(in super::super) fn simple_packet(big: bool, bytes: &[u8], wire: u32) -> Vec<u8> {
        block(big, 3, &[word(big, wire).to_vec(), padded(bytes)].concat())
    }

    pub(in super::super) fn statistics(
        big: bool,
        interface: u32,
        with: &[(u16, &[u8])],
    ) -> Vec<u8> {
        block(big, 5, &[word(big, interface).to_vec(), vec![0; 8], options(big, with)].concat())
    }
}
