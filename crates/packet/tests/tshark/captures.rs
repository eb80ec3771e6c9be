//! The packets of capture files, and all of them in one file: a reader as small as can be, so that
//! tshark and what is tested are asked about the same bytes.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// More than any packet has.
const MAX_LENGTH: usize = 1 << 18;

/// A packet of a capture.
pub(crate) struct Captured {
    /// The file and its number in it.
    pub(crate) name: String,
    pub(crate) link_type: u16,
    pub(crate) wire_length: u32,
    pub(crate) bytes: Vec<u8>,
}

/// The packets of all captures in the folders below `folder`, up to where a file is damaged.
pub(crate) fn read_all(folder: &Path) -> Vec<Captured> {
    let mut packets = Vec::new();
    for file in sorted(folder).iter().filter(|path| path.is_dir()).flat_map(|path| sorted(path)) {
        let bytes = fs::read(&file).unwrap();
        let read = if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            pcapng(&bytes)
        } else {
            pcap(&bytes)
        };
        let name = file.strip_prefix(folder).unwrap().display();
        packets.extend(read.into_iter().zip(1..).map(
            |((link_type, wire_length, bytes), number)| Captured {
                name: format!("{name} {number}"),
                link_type,
                wire_length,
                bytes: bytes.to_vec(),
            },
        ));
    }
    packets
}

/// Writes packets into one pcapng file.
pub(crate) fn write(path: &Path, packets: &[Captured]) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut block = |kind: u32, fields: &[u32], data: &[u8]| {
        let padding = data.len().next_multiple_of(4) - data.len();
        let length = u32::try_from(12 + 4 * fields.len() + data.len() + padding).unwrap();
        for word in [kind, length].iter().chain(fields) {
            file.write_all(&word.to_le_bytes()).unwrap();
        }
        file.write_all(data).unwrap();
        file.write_all(&[0; 3][..padding]).unwrap();
        file.write_all(&length.to_le_bytes()).unwrap();
    };
    block(0x0a0d_0d0a, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], &[]);
    let mut link_types = Vec::new();
    for packet in packets {
        let known = link_types.iter().position(|&link_type| link_type == packet.link_type);
        let interface = known.unwrap_or_else(|| {
            block(1, &[packet.link_type.into(), 0], &[]);
            link_types.push(packet.link_type);
            link_types.len() - 1
        });
        let captured = u32::try_from(packet.bytes.len()).unwrap();
        let interface = u32::try_from(interface).unwrap();
        block(6, &[interface, 0, 0, captured, packet.wire_length], &packet.bytes);
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The link type, the length on the wire and the bytes of each packet.
type Read<'a> = Vec<(u16, u32, &'a [u8])>;

struct Fields<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Fields<'a> {
    fn word(&self, at: usize) -> Option<u32> {
        let word = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    fn length(&self, at: usize) -> Option<usize> {
        self.word(at).and_then(|word| usize::try_from(word).ok())
    }

    fn half(&self, at: usize) -> Option<u16> {
        let half = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) })
    }

    fn part(&self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(length)?).filter(|_| length <= MAX_LENGTH)
    }
}

fn pcap(bytes: &[u8]) -> Read<'_> {
    let is_big_endian = bytes.first() == Some(&0xa1);
    let fields = Fields { bytes, is_big_endian };
    let Some(link_type) = fields.word(20) else { return Vec::new() };
    let link_type = u16::try_from(link_type & 0xffff).unwrap();
    let mut at = 24;
    std::iter::from_fn(|| {
        let length = fields.length(at + 8)?;
        let packet = (link_type, fields.word(at + 12)?, fields.part(at + 16, length)?);
        at += 16 + length;
        Some(packet)
    })
    .collect()
}

fn pcapng(bytes: &[u8]) -> Read<'_> {
    let mut fields = Fields { bytes, is_big_endian: false };
    let mut link_types = Vec::new();
    let mut packets = Vec::new();
    let mut at = 0;
    while let Some(kind) = fields.word(at) {
        if kind == 0x0a0d_0d0a {
            fields.is_big_endian = bytes.get(at + 8) == Some(&0x1a);
            link_types.clear();
        }
        let Some(length) = fields.length(at + 4).filter(|&length| length >= 12) else { break };
        let packet = match kind {
            1 => {
                link_types.extend(fields.half(at + 8));
                None
            }
            3 => fields.word(at + 8).and_then(|wire_length| {
                let captured = usize::try_from(wire_length).ok()?.min(length - 16);
                Some((*link_types.first()?, wire_length, fields.part(at + 12, captured)?))
            }),
            6 => fields.length(at + 8).and_then(|interface| {
                let data = fields.part(at + 28, fields.length(at + 20)?)?;
                Some((*link_types.get(interface)?, fields.word(at + 24)?, data))
            }),
            _ => None,
        };
        packets.extend(packet);
        at += length;
    }
    packets
}
