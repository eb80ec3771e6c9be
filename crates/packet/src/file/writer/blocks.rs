//! The blocks of a file as they are written: little-endian, with times in nanoseconds.

use netglass_model::Timestamp;

use super::{Notes, Section};
use crate::{
    Packet,
    file::{
        Interface, InterfaceStatistics, MAX_RECORD,
        pcapng::{BYTE_ORDER_MAGIC, block, option},
    },
};

/// How many bytes of a packet are written at most: what is read again has to be no longer than a
/// block may be, its notes included.
const MAX_PACKET: usize = MAX_RECORD - (128 << 10);
/// `if_tsresol` of nanoseconds.
const NANOSECONDS: u8 = 9;

/// A block of a file that was put together here.
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
}

impl Block<'_> {
    pub(super) fn is_packet(&self) -> bool {
        self.bytes.starts_with(&block::ENHANCED_PACKET.to_le_bytes())
    }
}

/// The blocks of a file that were put together here.
pub(super) struct ByBlock<'a>(&'a [u8]);

impl<'a> ByBlock<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for ByBlock<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let length = u32::from_le_bytes(*self.0.get(4..)?.first_chunk()?);
        let (bytes, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(Block { bytes })
    }
}

pub(super) fn append_section(buffer: &mut Vec<u8>, section: &Section) {
    append(buffer, block::SECTION_HEADER, |buffer| {
        // Version 1.0, and a length that is not said.
        words(buffer, [BYTE_ORDER_MAGIC, 1, u32::MAX, u32::MAX]);
        text_option(buffer, option::SHB_HARDWARE, &section.hardware);
        text_option(buffer, option::SHB_OS, &section.system);
        text_option(buffer, option::SHB_USERAPPL, &section.application);
        words(buffer, [option::END.into()]);
    });
}

pub(super) fn append_interface(buffer: &mut Vec<u8>, interface: &Interface) {
    append(buffer, block::INTERFACE_DESCRIPTION, |buffer| {
        words(buffer, [interface.link_type.0.into(), interface.snapshot_length]);
        text_option(buffer, option::IF_NAME, &interface.name);
        append_option(buffer, option::IF_TSRESOL, &[NANOSECONDS]);
        if !interface.filter.is_empty() {
            // A byte says that the filter is in the language of tcpdump.
            append_option(
                buffer,
                option::IF_FILTER,
                &[b"\0", interface.filter.as_bytes()].concat(),
            );
        }
        words(buffer, [option::END.into()]);
    });
}

pub(super) fn append_packet(buffer: &mut Vec<u8>, packet: &Packet<'_>, notes: Notes<'_>) {
    append(buffer, block::ENHANCED_PACKET, |buffer| {
        let bytes = packet.bytes.get(..MAX_PACKET).unwrap_or(packet.bytes);
        let [high, low] = time(packet.at);
        let captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        words(buffer, [packet.interface, high, low, captured, packet.wire_length]);
        buffer.extend_from_slice(bytes);
        pad(buffer, bytes.len());
        if notes.comment.is_empty() && notes.sender.is_none() {
            return;
        }
        text_option(buffer, option::COMMENT, notes.comment);
        if let Some(process) = notes.sender {
            let thread = 0_u32;
            let value = [process.to_le_bytes(), thread.to_le_bytes()];
            append_option(buffer, option::EPB_PROCESSID_THREADID, value.as_flattened());
        }
        words(buffer, [option::END.into()]);
    });
}

pub(super) fn append_statistics(
    buffer: &mut Vec<u8>,
    interface: u32,
    at: Timestamp,
    statistics: InterfaceStatistics,
) {
    let InterfaceStatistics { received, dropped, dropped_by_system } = statistics;
    let options = [
        (option::ISB_IFRECV, received),
        (option::ISB_IFDROP, dropped),
        (option::ISB_OSDROP, dropped_by_system),
    ];
    if options.iter().all(|(_, count)| count.is_none()) {
        return;
    }
    append(buffer, block::INTERFACE_STATISTICS, |buffer| {
        let [high, low] = time(at);
        words(buffer, [interface, high, low]);
        for (code, count) in options {
            if let Some(count) = count {
                append_option(buffer, code, &count.to_le_bytes());
            }
        }
        words(buffer, [option::END.into()]);
    });
}

fn append(buffer: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    words(buffer, [kind, 0]);
    body(buffer);
    let length = u32::try_from(buffer.len() - start + 4).unwrap_or(u32::MAX);
    words(buffer, [length]);
    if let Some(place) = buffer.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// A text, cut to what an option holds; nothing if it is empty.
fn text_option(buffer: &mut Vec<u8>, code: u16, text: &str) {
    let mut length = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    if let Some(text) = text.get(..length).filter(|text| !text.is_empty()) {
        append_option(buffer, code, text.as_bytes());
    }
}

fn append_option(buffer: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let value = value.get(..usize::from(length)).unwrap_or(value);
    buffer.extend(code.to_le_bytes());
    buffer.extend(length.to_le_bytes());
    buffer.extend_from_slice(value);
    pad(buffer, value.len());
}

/// The high half comes before the low one in either byte order.
fn time(at: Timestamp) -> [u32; 2] {
    let count = u64::try_from(at.as_nanoseconds()).unwrap_or(0);
    [(count >> 32) as u32, (count & 0xffff_ffff) as u32]
}

fn words<const COUNT: usize>(buffer: &mut Vec<u8>, words: [u32; COUNT]) {
    buffer.extend_from_slice(words.map(u32::to_le_bytes).as_flattened());
}

fn pad(buffer: &mut Vec<u8>, length: usize) {
    let padding = length.next_multiple_of(4) - length;
    buffer.extend_from_slice([0; 3].get(..padding).unwrap_or_default());
}
