//! A bounded queue on disk: what waits for a database that is away.

mod directory;
mod error;
mod format;
mod segment;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io, ops::AddAssign, path::Path};

use netglass_model::SpoolUsage;

pub use self::error::SpoolError;
use self::{
    directory::{Directory, number_of},
    format::{LAYOUT, Position, RecordHeader, record_size},
    segment::{Examined, Found, START, Segment},
};

/// Into how many segments a full spool is divided: that much is lost at once where there is no room.
const SEGMENTS: u64 = 16;
const MAX_SEGMENT: u64 = 8 << 20;

/// A queue of records on disk.
///
/// A record that was appended is there after `kill -9` and after a loss of power. Records come out
/// in the order in which they went in; one that was acknowledged may come again after a loss of
/// power, none is ever left out in silence. Where there is no room for another record, the oldest
/// make way, one file of them at a time.
///
/// A record whose payload is damaged is left out. Where the header of a record is, the rest of its
/// file is left out too: nothing says where the next one begins. Both are counted, to the sighting,
/// since each record says how many came before it; only of a torn end nobody can know.
#[derive(Debug)]
pub struct Spool {
    directory: Directory,
    limit: u64,
    /// The version of what is appended.
    content: u16,
    segments: VecDeque<Segment>,
    /// Up to where everything was delivered or lost.
    position: Position,
    /// Where in the first segment that is.
    offset: u64,
    /// Where the next record goes.
    next: Position,
    /// Where an earlier process ended, and this one began.
    begun: Position,
    taken: Option<Taken>,
    losses: Losses,
}

/// A record that was given out, and not acknowledged yet.
#[derive(Debug, Clone, Copy)]
struct Taken {
    header: RecordHeader,
    /// It had to make way meanwhile.
    made_way: bool,
}

/// A record that waits.
pub struct Record {
    /// What was appended.
    pub payload: Vec<u8>,
    /// The version of what it holds.
    pub content: u16,
    /// How many sightings are in it.
    pub sightings: u64,
    /// Whether an earlier process appended it.
    pub inherited: bool,
}

/// Records that will never come out again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many, as far as that is known.
    pub records: u64,
    /// The sightings in those of this process.
    pub sightings: u64,
    /// The sightings in those that an earlier process had left.
    pub inherited: u64,
    /// Their bytes, as far as there were any.
    pub bytes: u64,
}

/// Records that will never come out again, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// They made way for newer ones.
    pub full: Loss,
    /// They were torn or damaged, or somebody took their file away.
    pub damaged: Loss,
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.sightings += other.sightings;
        self.inherited += other.inherited;
        self.bytes += other.bytes;
    }
}

impl Spool {
    /// Opens the spool in `directory`, which is made where it is missing, for its owner alone.
    ///
    /// `limit` is how many bytes its records may take, `content` the kind (upper byte) and version
    /// (lower byte) of what payloads hold: older versions are read, newer ones and other kinds
    /// refused.
    pub fn open(directory: &Path, limit: u64, content: u16) -> Result<Self, SpoolError> {
        let directory = Directory::open(directory)?;
        let failed = SpoolError::from_io("read", directory.path());
        let position = directory.position().map_err(&failed)?;
        let mut spool = Self {
            directory,
            limit,
            content,
            segments: VecDeque::new(),
            position,
            offset: START,
            next: position,
            begun: position,
            taken: None,
            losses: Losses::default(),
        };
        spool.find_segments()?;
        spool.mend().map_err(&failed)?;
        spool.forget_passed().map_err(&failed)?;
        // While there may be room for it: later the disk may be full. Without, something is
        // delivered again.
        let _ = spool.directory.set_position(spool.position);
        Ok(spool)
    }

    /// Appends a record of so many sightings. When this returns, it is safe on disk; on an error,
    /// it is not there.
    pub fn append(&mut self, payload: &[u8], sightings: u64) -> Result<(), SpoolError> {
        let size = record_size(payload.len() as u64);
        let header = RecordHeader::new(self.next, sightings, payload)
            .filter(|_| START + size <= self.limit)
            .ok_or_else(|| SpoolError::TooLarge {
                directory: self.directory.path().to_owned(),
                bytes: START + size,
                limit: self.limit,
            })?;
        self.append_record(header, payload).map_err(|error| self.failure("write to", error))
    }

    /// The oldest record, until it is acknowledged; none where nothing waits.
    pub fn oldest(&mut self) -> Result<Option<Record>, SpoolError> {
        self.release();
        self.find_oldest().map_err(|error| self.failure("read", error))
    }

    /// The record that [`Spool::oldest`] gave was delivered: it need not come again.
    ///
    /// An error says that it may come again after a restart, or that its file could not be removed.
    pub fn acknowledge(&mut self) -> Result<(), SpoolError> {
        let Some(taken) = self.taken.take() else { return Ok(()) };
        if taken.made_way {
            return Ok(());
        }
        self.pass(taken.header).map_err(|error| self.failure("write to", error))
    }

    /// The record that [`Spool::oldest`] gave cannot be used: it counts as damaged.
    pub fn discard(&mut self) -> Result<(), SpoolError> {
        let Some(taken) = self.taken.take() else { return Ok(()) };
        let loss = self.loss(taken.header.position, taken.header.end(), taken.header.size());
        self.losses.damaged += loss;
        if taken.made_way {
            return Ok(());
        }
        self.pass(taken.header).map_err(|error| self.failure("write to", error))
    }

    /// The record that [`Spool::oldest`] gave was not delivered. If it had to make way meanwhile,
    /// it is lost now; else it comes again.
    pub fn release(&mut self) {
        if let Some(Taken { header, made_way: true }) = self.taken.take() {
            let loss = self.loss(header.position, header.end(), header.size());
            self.losses.full += loss;
        }
    }

    /// Says of what failed what was being done with this spool.
    pub(crate) fn failure(&self, action: &'static str, error: io::Error) -> SpoolError {
        SpoolError::from_io(action, self.directory.path())(error)
    }

    /// What waits.
    #[must_use]
    pub fn usage(&self) -> SpoolUsage {
        let flushes = self.next.number.saturating_sub(self.position.number);
        let bytes = self.bytes();
        SpoolUsage { flushes, bytes, limit: self.limit }
    }

    /// How many sightings wait that were appended by this process.
    #[must_use]
    pub fn sightings(&self) -> u64 {
        let waiting = self.loss(self.position, self.next, 0).sightings;
        let taken = self
            .taken
            .filter(|taken| taken.made_way)
            .map_or(0, |taken| self.loss(taken.header.position, taken.header.end(), 0).sightings);
        waiting + taken
    }

    /// What was lost since this was asked last.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn find_segments(&mut self) -> Result<(), SpoolError> {
        let failed = SpoolError::from_io("read", self.directory.path());
        let paths = self.directory.segments().map_err(&failed)?;
        let mut damaged = Vec::new();
        for path in paths {
            let name = number_of(&path);
            match Segment::examine(path.clone(), self.content).map_err(&failed)? {
                Examined::Segment(segment) if Some(segment.first.number) == name => {
                    self.segments.push_back(segment);
                }
                Examined::Segment(segment) => damaged.push((path, segment.end)),
                Examined::Damaged(bytes) => damaged.push((path, bytes)),
                Examined::OtherKind => {
                    let directory = self.directory.path().to_owned();
                    return Err(SpoolError::OtherKind { directory, file: path });
                }
                Examined::Newer(found) => {
                    return Err(SpoolError::Newer {
                        directory: self.directory.path().to_owned(),
                        file: path,
                        found: found.layout,
                        found_content: found.content,
                        known: LAYOUT,
                        known_content: self.content,
                    });
                }
            }
        }
        // Not before all are known to be ours: what is refused is left untouched.
        for (path, bytes) in damaged {
            segment::remove(&path).map_err(&failed)?;
            self.losses.damaged.bytes += bytes;
        }
        Ok(())
    }

    /// Cuts off what a process left unfinished, and goes on where it ended.
    fn mend(&mut self) -> io::Result<()> {
        if let Some(last) = self.segments.back_mut() {
            let tail = last.mend()?;
            let torn = tail.torn.iter();
            self.losses.damaged += Loss {
                records: tail.torn.len() as u64,
                sightings: 0,
                inherited: torn.map(|header| header.sightings).sum(),
                bytes: tail.cut,
            };
            self.next = self.next.max(tail.next);
        }
        // What came before the first one was delivered or had to make way.
        if let Some(first) = self.segments.front() {
            self.position = self.position.max(first.first);
        }
        self.next = self.next.max(self.position);
        self.begun = self.next;
        Ok(())
    }

    fn append_record(&mut self, header: RecordHeader, payload: &[u8]) -> io::Result<()> {
        let size = header.size();
        let longest = (self.limit / SEGMENTS).min(MAX_SEGMENT);
        while !self.segments.is_empty() && self.bytes() + START + size > self.limit {
            self.make_way()?;
        }
        let content = self.content;
        let has_room = |segment: &Segment| {
            segment.content == content
                && (segment.end == START || segment.end + size <= longest)
                && !segment.is_gone()
        };
        if !self.segments.back().is_some_and(has_room) {
            self.begin_segment()?;
        }
        if let Some(last) = self.segments.back_mut() {
            last.append(header, payload)?;
            self.next = header.end();
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        // One in which there is nothing has the same name.
        if let Some(last) = self.segments.back()
            && last.first.number == self.next.number
        {
            last.remove()?;
            self.segments.pop_back();
        }
        if self.segments.is_empty() {
            self.offset = START;
        }
        let path = self.directory.segment(self.next);
        let segment = Segment::create(path, self.next, self.content)?;
        if let Err(error) = self.directory.sync() {
            let _ = segment.remove();
            return Err(error);
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// Removes the oldest segment with what still waits in it.
    fn make_way(&mut self) -> io::Result<()> {
        let Some(first) = self.segments.front() else { return Ok(()) };
        first.remove()?;
        let bytes = first.end.saturating_sub(self.offset);
        self.segments.pop_front();
        let end = self.segments.front().map_or(self.next, |segment| segment.first);
        let mut loss = self.loss(self.position, end, bytes);
        if let Some(taken) = self.taken.as_mut().filter(|taken| !taken.made_way) {
            // What becomes of this one is not known yet.
            taken.made_way = true;
            let taken = taken.header;
            let its = self.loss(taken.position, taken.end(), taken.size());
            loss.records = loss.records.saturating_sub(1);
            loss.sightings = loss.sightings.saturating_sub(its.sightings);
            loss.inherited = loss.inherited.saturating_sub(its.inherited);
            loss.bytes = loss.bytes.saturating_sub(its.bytes);
        }
        self.losses.full += loss;
        self.position = self.position.max(end);
        self.offset = START;
        self.directory.set_position(self.position)
    }

    fn find_oldest(&mut self) -> io::Result<Option<Record>> {
        while let Some(first) = self.segments.front_mut() {
            match first.read(self.offset)? {
                Found::Record { header, .. } | Found::Damaged(header)
                    if header.position.number < self.position.number =>
                {
                    self.offset += header.size();
                }
                Found::Record { header, payload } => {
                    self.lose_up_to(header.position, 0)?;
                    self.taken = Some(Taken { header, made_way: false });
                    return Ok(Some(Record {
                        payload,
                        content: self.segments.front().map_or(self.content, |it| it.content),
                        sightings: header.sightings,
                        inherited: header.position.number < self.begun.number,
                    }));
                }
                Found::Damaged(header) => {
                    self.offset += header.size();
                    self.lose_up_to(header.end(), header.size())?;
                }
                Found::End => {
                    let unread = first.end.saturating_sub(self.offset);
                    self.offset = first.end;
                    let end = self.segments.get(1).map_or(self.next, |second| second.first);
                    self.lose_up_to(end, unread)?;
                    if self.segments.len() == 1 {
                        return self.forget_passed().map(|()| None);
                    }
                    self.drop_first()?;
                }
            }
        }
        Ok(None)
    }

    /// Whatever comes before `end` and has not come out is damaged.
    fn lose_up_to(&mut self, end: Position, bytes: u64) -> io::Result<()> {
        let loss = self.loss(self.position, end, bytes);
        if loss == Loss::default() {
            return Ok(());
        }
        self.losses.damaged += loss;
        self.position = self.position.max(end);
        // So that it is not counted again after a restart.
        self.directory.set_position(self.position)
    }

    /// A record is done with.
    fn pass(&mut self, header: RecordHeader) -> io::Result<()> {
        self.position = self.position.max(header.end());
        self.offset += header.size();
        let remembered = self.directory.set_position(self.position);
        // On a full disk this makes room.
        self.forget_passed()?;
        remembered
    }

    /// Removes what is done with.
    fn forget_passed(&mut self) -> io::Result<()> {
        while self.segments.get(1).is_some_and(|it| it.first.number <= self.position.number) {
            self.drop_first()?;
        }
        // What was delivered is not to lie around.
        if self.position.number == self.next.number
            && let Some(last) = self.segments.front_mut()
            && last.end > START
        {
            last.clear()?;
            self.offset = START;
        }
        Ok(())
    }

    fn drop_first(&mut self) -> io::Result<()> {
        if let Some(first) = self.segments.front() {
            first.remove()?;
        }
        self.segments.pop_front();
        self.offset = START;
        Ok(())
    }

    /// All that was appended from `from` to `to`, as if it were lost.
    fn loss(&self, from: Position, to: Position, bytes: u64) -> Loss {
        let begun = self.begun.sightings;
        let between = |from: u64, to: u64| to.saturating_sub(from);
        Loss {
            records: between(from.number, to.number),
            sightings: between(from.sightings.max(begun), to.sightings.max(begun)),
            inherited: between(from.sightings.min(begun), to.sightings.min(begun)),
            bytes,
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }
}
