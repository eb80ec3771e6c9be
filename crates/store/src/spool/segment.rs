//! One file of a spool.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::format::{
    LAYOUT, PREAMBLE_LENGTH, Position, Preamble, RECORD_HEADER_LENGTH, RecordHeader,
    SEGMENT_HEADER_LENGTH, SegmentHeader, kind,
};

/// Where its first record is.
pub(super) const START: u64 = SEGMENT_HEADER_LENGTH as u64;

/// One file of a spool: records in the order in which they were appended.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: Position,
    /// The version of what its payloads hold.
    pub(super) content: u16,
    /// Where its last record ends.
    pub(super) end: u64,
    /// Open once it was needed; those in the middle are not.
    file: Option<File>,
}

/// What a file is.
pub(super) enum Examined {
    Segment(Segment),
    /// Of a newer Netglass.
    Newer(Preamble),
    /// Another kind of things waits in it.
    OtherKind,
    /// Nothing in it can be read; so many bytes.
    Damaged(u64),
}

/// What is at a place of a segment.
pub(super) enum Found {
    Record {
        header: RecordHeader,
        payload: Vec<u8>,
    },
    /// A record whose payload is not what was written.
    Damaged(RecordHeader),
    /// No further record, or nothing that could be read as one.
    End,
}

/// What was found at the end of a segment that somebody may have been writing to.
pub(super) struct Tail {
    /// The place behind the last whole record.
    pub(super) next: Position,
    /// The records of which only the header was whole.
    pub(super) torn: Vec<RecordHeader>,
    /// Bytes that were cut off.
    pub(super) cut: u64,
}

impl Segment {
    /// Makes the file, for its owner alone.
    pub(super) fn create(path: PathBuf, first: Position, content: u16) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let header = SegmentHeader { preamble: Preamble { layout: LAYOUT, content }, first };
        let segment = Self { path, first, content, end: START, file: Some(file) };
        match segment.file()?.write_all_at(&header.to_bytes(), 0) {
            Ok(()) => Ok(segment),
            Err(error) => {
                // Without header it is nothing.
                let _ = segment.remove();
                Err(error)
            }
        }
    }

    /// Reads what the file starts with.
    pub(super) fn examine(path: PathBuf, known_content: u16) -> io::Result<Examined> {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let header = read_at_most(&file, SEGMENT_HEADER_LENGTH, 0)?;
        if let Some(preamble) = header.get(..PREAMBLE_LENGTH).and_then(Preamble::from_bytes) {
            if kind(preamble.content) != kind(known_content) {
                return Ok(Examined::OtherKind);
            }
            if preamble.layout > LAYOUT || preamble.content > known_content {
                return Ok(Examined::Newer(preamble));
            }
        }
        Ok(match SegmentHeader::from_bytes(&header) {
            Some(SegmentHeader { preamble: Preamble { content, .. }, first }) => {
                Examined::Segment(Self { path, first, content, end: length, file: None })
            }
            None => Examined::Damaged(length),
        })
    }

    /// Finds where the last whole record ends, and cuts off what follows it.
    pub(super) fn mend(&mut self) -> io::Result<Tail> {
        let (mut at, mut end) = (START, START);
        let (mut next, mut torn) = (self.first, Vec::new());
        loop {
            let header = match self.read(at)? {
                Found::Record { header, .. } => {
                    torn.clear();
                    next = header.end();
                    end = at + header.size();
                    header
                }
                Found::Damaged(header) => {
                    torn.push(header);
                    header
                }
                Found::End => break,
            };
            at += header.size();
        }
        let cut = self.end.saturating_sub(end);
        if cut > 0 {
            let file = self.file()?;
            file.set_len(end)?;
            file.sync_data()?;
        }
        self.end = end;
        Ok(Tail { next, torn, cut })
    }

    /// What is at `offset`, where a record may begin.
    pub(super) fn read(&mut self, offset: u64) -> io::Result<Found> {
        let end = self.end;
        let file = match self.open() {
            Ok(file) => file,
            // Somebody took it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::End),
            Err(error) => return Err(error),
        };
        let header = read_at_most(file, RECORD_HEADER_LENGTH, offset)?;
        let Some(header) = RecordHeader::from_bytes(&header) else { return Ok(Found::End) };
        // What a file cannot hold is not read into memory.
        let is_within = offset.checked_add(header.size()).is_some_and(|behind| behind <= end);
        let Some(length) = usize::try_from(header.length).ok().filter(|_| is_within) else {
            return Ok(Found::Damaged(header));
        };
        let payload = read_at_most(file, length, offset + RECORD_HEADER_LENGTH as u64)?;
        Ok(if payload.len() == length && header.matches(&payload) {
            Found::Record { header, payload }
        } else {
            Found::Damaged(header)
        })
    }

    /// Adds a record; when this returns, it is on the disk. On an error the segment is as before.
    pub(super) fn append(&mut self, header: RecordHeader, payload: &[u8]) -> io::Result<()> {
        let at = self.end;
        let file = self.open()?;
        let written = file
            .write_all_at(&header.to_bytes(), at)
            .and_then(|()| file.write_all_at(payload, at + RECORD_HEADER_LENGTH as u64))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Were it there in spite of the error, its contents would come twice: the caller keeps
            // them.
            file.set_len(at)?;
            return Err(error);
        }
        self.end = at + header.size();
        Ok(())
    }

    /// Removes all records.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.end = START;
        match self.open() {
            Ok(file) => file.set_len(START),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody has removed the file.
    pub(super) fn is_gone(&self) -> bool {
        match &self.file {
            Some(file) => file.metadata().is_ok_and(|metadata| metadata.nlink() == 0),
            None => !self.path.exists(),
        }
    }

    /// Removes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }

    fn open(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().read(true).write(true).open(&self.path)?);
        }
        self.file()
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Up to `length` bytes: fewer where the file ends before.
fn read_at_most(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..)
        && !room.is_empty()
    {
        match file.read_at(room, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
