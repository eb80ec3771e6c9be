//! The pcapng format: sections of blocks, which describe interfaces or are packets of them.

mod clock;
mod options;

use super::{Damage, Interface, MAX_RECORD, Record, Step, byte_order::ByteOrder};
use crate::LinkType;
use clock::Clock;
pub(super) use options::{Options, option};

/// The types of blocks that are looked into or written.
pub(super) mod block {
    pub(in crate::file) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(in crate::file) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(in crate::file) const OBSOLETE_PACKET: u32 = 2;
    pub(in crate::file) const SIMPLE_PACKET: u32 = 3;
    pub(in crate::file) const INTERFACE_STATISTICS: u32 = 5;
    pub(in crate::file) const ENHANCED_PACKET: u32 = 6;

    /// Those in sections that are looked into.
    pub(super) const LOOKED_INTO: [u32; 5] = [
        INTERFACE_DESCRIPTION,
        OBSOLETE_PACKET,
        SIMPLE_PACKET,
        INTERFACE_STATISTICS,
        ENHANCED_PACKET,
    ];
}

/// What the numbers of a section are read by.
pub(super) const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// The type of a block, and its length.
const PREFIX: usize = 8;
/// The length of a block once more.
const SUFFIX: usize = 4;
/// What comes before the data of a packet, unless it is a simple one.
const PACKET_HEADER: usize = 28;
const SIMPLE_PACKET_HEADER: usize = 12;

/// How many interfaces are kept: each has a name.
const MAX_INTERFACES: usize = 1 << 16;

/// What is known of a file up to the place where it is read.
#[derive(Debug)]
pub(super) struct Pcapng {
    /// That of the section.
    order: ByteOrder,
    /// How many interfaces the sections before this one have.
    earlier: usize,
    /// What the packets of the section's interfaces are read by, by their numbers.
    described: Vec<Described>,
    /// That of the last packet: simple packets have none of their own.
    last: netglass_model::Timestamp,
}

/// What the packets of an interface are read by.
#[derive(Debug, Clone, Copy)]
struct Described {
    link_type: LinkType,
    snapshot_length: u32,
    clock: Clock,
}

impl Pcapng {
    pub(super) fn new() -> Self {
        let last = netglass_model::Timestamp::default();
        Self { order: ByteOrder::Little, earlier: 0, described: Vec::new(), last }
    }

    /// Whether a file that begins so is in this format.
    pub(super) fn detect(beginning: [u8; 4]) -> bool {
        u32::from_le_bytes(beginning) == block::SECTION_HEADER
    }

    /// What `bytes` begin with. What it says of interfaces goes to `interfaces`.
    #[inline]
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        interfaces: &mut Vec<Interface>,
    ) -> Result<Step, Damage> {
        let Some([kind, length]) = self.order.words(bytes) else {
            return Ok(Step::Short);
        };
        if kind == block::SECTION_HEADER {
            return self.section(bytes, interfaces.len());
        }
        if length % 4 != 0 || (length as usize) < PREFIX + SUFFIX {
            return Err(Damage::BlockLength(length));
        }
        // What is not looked into may be of any length.
        if length as usize > MAX_RECORD && !block::LOOKED_INTO.contains(&kind) {
            return Ok(Step::Other(length.into()));
        }
        let Some(whole) = whole(self.order, bytes, length)? else {
            return Ok(Step::Short);
        };
        match kind {
            block::ENHANCED_PACKET => return self.packet(whole),
            block::OBSOLETE_PACKET => return self.obsolete_packet(whole),
            block::SIMPLE_PACKET => return self.simple_packet(whole),
            block::INTERFACE_DESCRIPTION => self.describe(whole, interfaces)?,
            block::INTERFACE_STATISTICS => self.statistics(whole, interfaces),
            _ => {}
        }
        Ok(Step::Other(length.into()))
    }

    /// A new section: what was known of the one before ends.
    fn section(&mut self, bytes: &[u8], interfaces: usize) -> Result<Step, Damage> {
        const HEADER: usize = 28;
        let Some([_, _, magic]) = ByteOrder::Little.words(bytes) else {
            return Ok(Step::Short);
        };
        let order = match magic {
            BYTE_ORDER_MAGIC => ByteOrder::Little,
            _ if magic.swap_bytes() == BYTE_ORDER_MAGIC => ByteOrder::Big,
            _ => return Err(Damage::ByteOrder(magic)),
        };
        let Some([_, length, _, version]) = order.words(bytes) else {
            return Ok(Step::Short);
        };
        if length % 4 != 0 || (length as usize) < HEADER {
            return Err(Damage::BlockLength(length));
        }
        if whole(order, bytes, length)?.is_none() {
            return Ok(Step::Short);
        }
        let (major, minor) = order.halves(version);
        if major != 1 {
            return Err(Damage::Version { major, minor });
        }
        self.order = order;
        self.earlier = interfaces;
        self.described.clear();
        Ok(Step::Other(length.into()))
    }

    fn describe(&mut self, block: &[u8], interfaces: &mut Vec<Interface>) -> Result<(), Damage> {
        const HEADER: usize = 16;
        let Some([_, length, kind, snapshot_length]) = self.order.words(block) else {
            return Ok(());
        };
        if block.len() < HEADER + SUFFIX {
            return Err(Damage::BlockLength(length));
        }
        if interfaces.len() >= MAX_INTERFACES {
            return Err(Damage::TooManyInterfaces(MAX_INTERFACES));
        }
        let mut interface = Interface {
            name: String::new(),
            link_type: LinkType(self.order.halves(kind).0),
            snapshot_length,
            filter: String::new(),
            statistics: super::InterfaceStatistics::default(),
        };
        let mut clock = Clock::default();
        for (code, value) in Options::new(self.order, block, HEADER) {
            match (code, value) {
                (option::IF_NAME, _) => interface.name = options::text(value),
                // The first byte says in which language it is; 0 is that of tcpdump.
                (option::IF_FILTER, [0, filter @ ..]) => interface.filter = options::text(filter),
                (option::IF_TSRESOL, [resolution]) => clock.set_resolution(*resolution),
                (option::IF_TSOFFSET, _) => {
                    if let Some(seconds) = options::number(self.order, value) {
                        clock.offset += i128::from(seconds.cast_signed()) * 1_000_000_000;
                    }
                }
                (option::IF_TSOFFSET_NS, &[a, b, c, d]) => {
                    let nanoseconds = self.order.u32([a, b, c, d]).cast_signed();
                    clock.offset += i128::from(nanoseconds);
                }
                _ => {}
            }
        }
        let link_type = interface.link_type;
        interfaces.push(interface);
        self.described.push(Described { link_type, snapshot_length, clock });
        Ok(())
    }

    /// What an interface had seen. What is told last holds.
    fn statistics(&self, block: &[u8], interfaces: &mut [Interface]) {
        const HEADER: usize = 20;
        let Some([_, _, number]) = self.order.words(block) else { return };
        let index = self.earlier.saturating_add(number as usize);
        let Some(interface) = interfaces.get_mut(index) else { return };
        for (code, value) in Options::new(self.order, block, HEADER) {
            let statistics = &mut interface.statistics;
            let field = match code {
                option::ISB_IFRECV => &mut statistics.received,
                option::ISB_IFDROP => &mut statistics.dropped,
                option::ISB_OSDROP => &mut statistics.dropped_by_system,
                _ => continue,
            };
            *field = options::number(self.order, value).or(*field);
        }
    }

    #[inline]
    fn packet(&mut self, block: &[u8]) -> Result<Step, Damage> {
        match self.order.words(block) {
            Some([_, _, interface, high, low, captured, wire]) => {
                self.timed_packet(block, interface, [high, low], [captured, wire])
            }
            None => Err(Damage::BlockLength(block_length(block))),
        }
    }

    /// One whose interface and the drops before it share a number.
    fn obsolete_packet(&mut self, block: &[u8]) -> Result<Step, Damage> {
        match self.order.words(block) {
            Some([_, _, interface, high, low, captured, wire]) => {
                let (interface, _) = self.order.halves(interface);
                self.timed_packet(block, interface.into(), [high, low], [captured, wire])
            }
            None => Err(Damage::BlockLength(block_length(block))),
        }
    }

    #[inline]
    fn timed_packet(
        &mut self,
        block: &[u8],
        number: u32,
        [high, low]: [u32; 2],
        [captured, wire]: [u32; 2],
    ) -> Result<Step, Damage> {
        let described = self.described(number)?;
        if block.len() < PACKET_HEADER + SUFFIX + captured as usize {
            return Err(Damage::PacketBeyondBlock { captured, block: block_length(block) });
        }
        self.last = described.clock.at(u64::from(high) << 32 | u64::from(low));
        let record = Record {
            at: self.last,
            start: PACKET_HEADER,
            captured,
            wire_length: wire,
            interface: self.place(number),
            link_type: described.link_type,
        };
        Ok(Step::Packet(record, block.len()))
    }

    /// One of the first interface, without a time.
    fn simple_packet(&mut self, block: &[u8]) -> Result<Step, Damage> {
        let described = self.described(0)?;
        let Some([_, length, wire]) = self.order.words(block) else {
            return Err(Damage::BlockLength(block_length(block)));
        };
        let Some(room) = block.len().checked_sub(SIMPLE_PACKET_HEADER + SUFFIX) else {
            return Err(Damage::BlockLength(length));
        };
        let limit = match described.snapshot_length {
            0 => u32::MAX,
            limit => limit,
        };
        let captured = wire.min(limit).min(u32::try_from(room).unwrap_or(u32::MAX));
        let record = Record {
            at: self.last,
            start: SIMPLE_PACKET_HEADER,
            captured,
            wire_length: wire,
            interface: self.place(0),
            link_type: described.link_type,
        };
        Ok(Step::Packet(record, block.len()))
    }

    #[inline]
    fn described(&self, number: u32) -> Result<Described, Damage> {
        let described = self.described.get(number as usize).copied();
        described.ok_or(Damage::Interface { number, described: self.described.len() })
    }

    /// The place of an interface of the section among all of the file.
    fn place(&self, number: u32) -> u32 {
        u32::try_from(self.earlier).unwrap_or(u32::MAX).saturating_add(number)
    }
}

/// The block of that length with which `bytes` begin, if it is whole.
#[inline]
fn whole(order: ByteOrder, bytes: &[u8], first: u32) -> Result<Option<&[u8]>, Damage> {
    if first as usize > MAX_RECORD {
        return Err(Damage::BlockLength(first));
    }
    let Some(block) = bytes.get(..first as usize) else { return Ok(None) };
    match block.last_chunk().map(|suffix| order.u32(*suffix)) {
        Some(second) if second != first => Err(Damage::BlockLengths { first, second }),
        _ => Ok(Some(block)),
    }
}

fn block_length(block: &[u8]) -> u32 {
    u32::try_from(block.len()).unwrap_or(u32::MAX)
}
