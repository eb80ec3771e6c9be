//! Reading a capture: its packets, one batch of them after another.

use std::{fs::File, io, io::Read, path::Path};

use super::{
    Damage, FileError, Interface, Offset, Record, Step,
    buffer::Buffer,
    heads::{Heads, TakeHeads},
    memory::FileMemory,
    pcap::{self, Pcap},
    pcapng::Pcapng,
    source::{self, FileFrom, Source},
};
use crate::Packet;

/// How many packets are given at once: so many that their headers can be looked up together, and so
/// few that they are in the processor's cache when they are.
const BATCH: usize = 64;

/// How long a file is at least that is shown as memory: a shorter one is read by then.
const SHORTEST_SHOWN: u64 = 1 << 20;

/// Reads a capture in pcap (of micro- or nanoseconds, either byte order, or as modified by Kuznetsov)
/// or pcapng format, as it is or compressed with gzip or zstd.
///
/// Nothing is allocated or copied for a packet: it is given where it was read. At most 16 MiB are
/// held at once, beside what a decompressor takes.
///
/// What cannot be understood ends the capture with an error, after all packets before it.
pub struct Reader {
    source: Source,
    /// What gives heads, as long as it can.
    heads: Option<Heads>,
    format: Format,
    buffer: Buffer,
    interfaces: Vec<Interface>,
    /// Those of a batch, and how many of them are of this one: to put them where there is room already
    /// takes half of what it takes to append them.
    records: Box<[Record; BATCH]>,
    found: usize,
    /// How much is left of something that is not looked into.
    skip: u64,
    ended: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// Packets that were read together.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    records: &'a [Record],
    interfaces: &'a [Interface],
}

impl<'a> Batch<'a> {
    /// The interfaces of the capture that are described up to here, those of all its packets among
    /// them.
    #[must_use]
    pub fn interfaces(&self) -> &'a [Interface] {
        self.interfaces
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none, since the capture has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// They, in their order in the file.
    #[inline]
    #[must_use]
    pub fn packets(&self) -> impl ExactSizeIterator<Item = Packet<'a>> + use<'a> {
        let bytes = self.bytes;
        self.records.iter().map(move |record| {
            let end = record.start + record.captured as usize;
            record.packet(bytes.get(record.start..end).unwrap_or_default())
        })
    }
}

/// What comes of looking at the bytes that are there.
enum Found {
    /// All packets for which there is room, or which are there whole.
    Packets,
    /// None: more has to be read for the next one.
    Nothing,
}

/// One look at the bytes that are there.
struct Scan<'a> {
    unread: &'a [u8],
    /// Where the first of them is in the buffer.
    start: usize,
    /// How many of them were looked at.
    place: usize,
    /// How many bytes behind them are not looked into.
    skip: u64,
}

impl Scan<'_> {
    /// Finds as many packets as there is room for in a batch. Returns how far it came, how many bytes
    /// behind that are not looked into, and what keeps it from going on.
    #[inline]
    fn run(
        mut self,
        records: &mut [Record; BATCH],
        found: &mut usize,
        mut step: impl FnMut(&[u8]) -> Result<Step, Damage>,
    ) -> (usize, u64, Result<Found, Damage>) {
        let mut result = Ok(Found::Nothing);
        while let Some(room) = records.get_mut(*found)
            && self.skip == 0
        {
            let bytes = self.unread.get(self.place..).unwrap_or_default();
            match step(bytes) {
                Ok(Step::Packet(record, length)) => {
                    let start = record.start + self.start + self.place;
                    *room = Record { start, ..record };
                    *found += 1;
                    self.place += length;
                }
                Ok(Step::Other(length)) => {
                    let passed = length.min(bytes.len() as u64);
                    self.skip = length - passed;
                    self.place += usize::try_from(passed).unwrap_or(bytes.len());
                }
                Ok(Step::Short) => break,
                Err(damage) => {
                    result = Err(damage);
                    break;
                }
            }
        }
        (self.place, self.skip, result)
    }
}

impl Reader {
    /// Opens the file at `path`, or standard input if that is `-`, and reads its beginning.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::begin(Source::open(path)?)
    }

    /// The same for who wants to know whose packets are, and [takes heads](Self::give_heads) of them.
    /// `memory` is asked twice for what shows the file. Standard input is read.
    pub fn open_heads(
        path: &Path,
        memory: impl Fn(&File) -> io::Result<Box<dyn FileMemory>>,
    ) -> Result<Self, FileError> {
        if source::is_standard_input(path) {
            return Self::open(path);
        }
        let file = Source::file(path)?;
        let name = path.display().to_string();
        if !file.metadata().is_ok_and(|it| it.is_file() && it.len() >= SHORTEST_SHOWN) {
            return Self::new(&name, file);
        }
        let failure = |reason| FileError::Open { file: name.clone(), reason };
        let from = FileFrom { file: file.try_clone().map_err(failure)?, offset: 0 };
        let mut reader = Self::new(&name, from)?;
        if let (Format::Pcap(pcap), false) = (&reader.format, reader.source.unpacked) {
            // What cannot be shown is read.
            reader.heads = Heads::new(file, memory, *pcap, reader.buffer.offset()).ok();
        }
        Ok(reader)
    }

    /// Gives the heads of `limit` packets at most. False, if nothing is known of the next one in this way:
    /// what comes then is to be taken [in batches](Self::next_batch).
    #[inline]
    pub fn give_heads(&mut self, limit: usize, to: &mut impl TakeHeads) -> Result<bool, FileError> {
        let Some(heads) = &mut self.heads else { return Ok(false) };
        match heads.give(limit, to) {
            Ok(1..) => Ok(true),
            Ok(0) => self.read_on().map(|()| false),
            Err(reason) => {
                let (file, offset) = (self.source.name.clone(), self.offset());
                self.ended = true;
                self.heads = None;
                Err(FileError::Read { file, offset, reason })
            }
        }
    }

    /// Has whole packets be read from now on, behind those that were given.
    fn read_on(&mut self) -> Result<(), FileError> {
        let Some(heads) = self.heads.take() else { return Ok(()) };
        let (offset, file) = (heads.offset(), heads.into_file());
        self.buffer = Buffer::new(offset);
        let length = file.metadata().map_or(offset, |it| it.len());
        self.source.bytes = Box::new(FileFrom { file, offset });
        if length < offset {
            self.ended = true;
            let file = self.source.name.clone();
            return Err(FileError::Cut { file, begin: offset, end: self.at(length) });
        }
        Ok(())
    }

    /// Reads from anything; `name` is what errors call it. It is waited for the beginning, also of what
    /// does not wait itself.
    pub fn new(name: &str, read: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::begin(Source::new(name, read)?)
    }

    fn begin(source: Source) -> Result<Self, FileError> {
        let mut reader = Self {
            source,
            heads: None,
            format: Format::Pcapng(Pcapng::new()),
            buffer: Buffer::new(0),
            interfaces: Vec::new(),
            records: Box::new([Record::NONE; BATCH]),
            found: 0,
            skip: 0,
            ended: false,
        };
        let beginning = match reader.peek() {
            Ok(beginning) => beginning,
            Err(FileError::Cut { .. }) => return Err(reader.not_capture()),
            Err(error) => return Err(error),
        };
        if Pcapng::detect(beginning) {
            return Ok(reader);
        }
        let Some(order) = Pcap::detect(beginning) else { return Err(reader.not_capture()) };
        let header: [u8; pcap::HEADER] = reader.peek()?;
        let (format, interface) =
            Pcap::new(order, &header).map_err(|damage| reader.damaged(damage))?;
        reader.buffer.consume(pcap::HEADER);
        reader.format = Format::Pcap(format);
        reader.interfaces.push(interface);
        Ok(reader)
    }

    /// The interfaces of the capture that are described up to here, with what they had seen as far as
    /// that was told up to here. A packet's is in its place.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How far the file was read.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.at(self.heads.as_ref().map_or(self.buffer.offset(), Heads::offset))
    }

    /// The next packets: those that were read already, and at least one, for which it waits. None at
    /// the end, and after an error. Where the source does not wait, its [`FileError::Pending`] is no
    /// end: what comes later is read on.
    pub fn next_batch(&mut self) -> Result<Batch<'_>, FileError> {
        self.read_on()?;
        self.found = 0;
        while !self.ended {
            match self.look() {
                Ok(Found::Packets) => break,
                Ok(Found::Nothing) => self.fill()?,
                Err(damage) => {
                    self.ended = true;
                    return Err(self.damaged(damage));
                }
            }
        }
        let Self { buffer, records, found, interfaces, .. } = self;
        let records = records.get(..*found).unwrap_or_default();
        Ok(Batch { bytes: buffer.bytes(), records, interfaces })
    }

    /// Looks at what is there. What is wrong behind packets is told when they were given.
    fn look(&mut self) -> Result<Found, Damage> {
        self.pass();
        let Self { format, buffer, interfaces, records, found, skip, .. } = self;
        let scan = Scan { unread: buffer.unread(), start: buffer.start(), place: 0, skip: *skip };
        // Which format it is, is not asked for each packet.
        let (place, left, result) = match format {
            Format::Pcap(pcap) => scan.run(records, found, |bytes| pcap.step(bytes)),
            Format::Pcapng(pcapng) => {
                scan.run(records, found, |bytes| pcapng.step(bytes, interfaces))
            }
        };
        self.skip = left;
        self.buffer.consume(place);
        match (self.found == 0, self.skip) {
            (false, _) => Ok(Found::Packets),
            (true, 0) => result,
            (true, _) => Ok(Found::Nothing),
        }
    }

    /// Goes past what is not looked into, as far as it is there.
    fn pass(&mut self) {
        let wanted = usize::try_from(self.skip).unwrap_or(usize::MAX);
        self.skip -= self.buffer.consume(wanted) as u64;
    }

    /// Reads more. What is there at the end is a part of something.
    fn fill(&mut self) -> Result<(), FileError> {
        let (whole, reason) = match self.buffer.fill(&mut self.source.bytes) {
            Ok(1..) => return Ok(()),
            Ok(0) => (true, None),
            // What is compressed was cut off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (false, None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(FileError::Pending);
            }
            Err(error) => (false, Some(error)),
        };
        self.ended = true;
        let end = self.at(self.buffer.end_offset());
        let file = self.source.name.clone();
        match reason {
            Some(reason) => Err(FileError::Read { file, offset: end, reason }),
            None if whole && self.skip == 0 && self.buffer.unread().is_empty() => Ok(()),
            None => Err(FileError::Cut { file, begin: self.buffer.offset(), end }),
        }
    }

    /// The first bytes, which are left where they are.
    fn peek<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], FileError> {
        loop {
            if let Some(bytes) = self.buffer.unread().first_chunk() {
                return Ok(*bytes);
            }
            match self.fill() {
                Ok(()) | Err(FileError::Pending) => {}
                Err(error) => return Err(error),
            }
            if self.ended {
                return Err(FileError::Empty { file: self.source.name.clone() });
            }
        }
    }

    fn at(&self, bytes: u64) -> Offset {
        Offset { bytes, unpacked: self.source.unpacked }
    }

    fn damaged(&self, damage: Damage) -> FileError {
        let file = self.source.name.clone();
        FileError::Damaged { file, offset: self.offset(), damage }
    }

    fn not_capture(&mut self) -> FileError {
        const SHOWN: usize = 16;
        while self.buffer.unread().len() < SHOWN
            && !self.ended
            && matches!(self.fill(), Ok(()) | Err(FileError::Pending))
        {}
        let unread = self.buffer.unread();
        let beginning = unread.get(..SHOWN).unwrap_or(unread);
        let numbers: Vec<String> = beginning.iter().map(|byte| format!("{byte:02x}")).collect();
        FileError::NotCapture {
            file: self.source.name.clone(),
            beginning: format!("{} (\"{}\")", numbers.join(" "), beginning.escape_ascii()),
            advice: source::advice(beginning),
        }
    }
}
