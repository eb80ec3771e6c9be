//! The bytes of a file that were read, and not looked at yet.

use std::io::{self, Read};

use super::MAX_RECORD;

/// What is read at once. It stays in the processor's cache until it was looked at, which is worth
/// more than fewer system calls.
const SIZE: usize = 512 << 10;

/// The bytes of a file that were read, and not looked at yet.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the file the first of them is.
    offset: u64,
}

impl Buffer {
    /// An empty one, for a file that is read from `offset` on.
    pub(super) fn new(offset: u64) -> Self {
        Self { bytes: vec![0; SIZE], start: 0, end: 0, offset }
    }

    /// Where in the file the first unread byte is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where in the file the last byte that was read from it ends.
    pub(super) fn end_offset(&self) -> u64 {
        self.offset.saturating_add((self.end - self.start) as u64)
    }

    /// Where the first unread byte is among [`Self::bytes`].
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Everything in the buffer, what was looked at included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was not looked at yet.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Goes past so many bytes at most, and says past how many.
    pub(super) fn consume(&mut self, count: usize) -> usize {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset = self.offset.saturating_add(count as u64);
        count
    }

    /// Reads more; returns how many bytes it were, which is none at the end only. The buffer grows as
    /// bytes come, and not because a length says that they will.
    pub(super) fn fill(&mut self, source: &mut dyn Read) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            self.bytes.resize(self.bytes.len().saturating_mul(2).min(MAX_RECORD), 0);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let room_size = room.len();
        loop {
            match source.read(room) {
                Ok(count) => {
                    let count = count.min(room_size);
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
