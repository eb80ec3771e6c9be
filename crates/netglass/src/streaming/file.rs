//! A file that much is written to, past the kernel's cache of files.
//!
//! To find a hundred megabytes a second for that cache, page by page, costs the programs that are
//! watched some percent of their time, and drives out of it what they have there.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// How much is written at once.
const BLOCK: usize = 256 << 10;
/// To what a disk's writes are aligned in memory and in the file (open(2), `O_DIRECT`): no disk asks
/// for more.
const ALIGNMENT: usize = 4096;
/// How often it is looked whether the disk keeps up. Calls are read together, some times in that.
const PACE: Duration = Duration::from_millis(500);

/// An empty file, from its beginning on.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// Where the block is in the file.
    offset: u64,
    /// The block, from `start` on.
    buffer: Box<[u8]>,
    start: usize,
    /// Up to where there is something in the block.
    filled: usize,
    /// Up to where that is in the file, too.
    written: usize,
    is_direct: bool,
    pace: Pace,
}

/// How much of the time since a moment was spent in writing past the cache.
#[derive(Debug)]
struct Pace {
    since: Instant,
    writing: Duration,
}

impl Pace {
    fn from(since: Instant) -> Self {
        Self { since, writing: Duration::ZERO }
    }

    /// Adds a block that was written until `now`. Whether the disk keeps up: if it takes half of the
    /// time, nothing is left for what comes faster for a while, of which the cache takes more.
    fn keeps_up(&mut self, took: Duration, now: Instant) -> bool {
        self.writing += took;
        let passed = now.saturating_duration_since(self.since);
        if passed < PACE {
            return true;
        }
        let before = std::mem::replace(self, Self::from(now));
        before.writing * 2 < passed
    }
}

impl DirectFile {
    pub(super) fn new(file: File) -> Self {
        let buffer = vec![0; BLOCK + ALIGNMENT].into_boxed_slice();
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let pace = Pace::from(Instant::now());
        Self { file, offset: 0, buffer, start, filled: 0, written: 0, is_direct: true, pace }
    }

    /// Writes the block, which is full.
    fn write_block(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        // Also what is in the file already: only whole blocks go past the cache.
        let done = self.is_direct && self.bypassing(true).is_ok() && self.put(0).is_ok();
        let now = Instant::now();
        self.is_direct = done && self.pace.keeps_up(now.saturating_duration_since(begin), now);
        if !done {
            self.show()?;
        }
        self.offset += BLOCK as u64;
        (self.filled, self.written) = (0, 0);
        Ok(())
    }

    /// Writes what of the block is not in the file yet.
    fn show(&mut self) -> io::Result<()> {
        if self.written < self.filled {
            // Who cannot say so has never written past the cache.
            let _ = self.bypassing(false);
            self.put(self.written)?;
            self.written = self.filled;
        }
        Ok(())
    }

    fn put(&self, from: usize) -> io::Result<()> {
        let block = self.buffer.get(self.start..).unwrap_or_default();
        let bytes = block.get(from..self.filled).unwrap_or_default();
        self.file.write_all_at(bytes, self.offset + from as u64)
    }

    /// Has what follows written past the cache, or through it.
    fn bypassing(&self, is_direct: bool) -> io::Result<()> {
        let mut flags = fcntl_getfl(&self.file)?;
        flags.set(OFlags::DIRECT, is_direct);
        Ok(fcntl_setfl(&self.file, flags)?)
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == BLOCK {
            self.write_block()?;
        }
        let taken = bytes.len().min(BLOCK - self.filled);
        let begin = self.start + self.filled;
        if let (Some(room), Some(bytes)) =
            (self.buffer.get_mut(begin..begin + taken), bytes.get(..taken))
        {
            room.copy_from_slice(bytes);
        }
        self.filled += taken;
        Ok(taken)
    }

    /// Has all in the file, for who reads it meanwhile.
    fn flush(&mut self) -> io::Result<()> {
        self.show()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn check(folder: &Path) {
        let path = folder.join("lines");
        let mut file = DirectFile::new(File::create(&path).unwrap());
        let mut expected = Vec::new();
        for number in 0..200_000_u64 {
            let line = format!("{}\n", number * number * 7919 % 1_000_000_007);
            file.write_all(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
            if number % 30_011 == 0 {
                file.flush().unwrap();
                assert!(fs::read(&path).unwrap() == expected, "up to {number}");
            }
        }
        assert!(expected.len() > BLOCK, "{}", expected.len());
        file.flush().unwrap();
        assert!(fs::read(&path).unwrap() == expected);
        // What is overwritten in it is still the same.
        file.write_all(&vec![b'x'; 3 * BLOCK]).unwrap();
        expected.extend_from_slice(&vec![b'x'; 3 * BLOCK]);
        file.flush().unwrap();
        assert!(fs::read(&path).unwrap() == expected);
    }

    #[test]
    fn all_is_in_the_file_when_it_is_flushed() {
        check(tempfile::tempdir().unwrap().path());
        // Which is no disk.
        check(tempfile::tempdir_in("/dev/shm").unwrap().path());
    }

    #[test]
    fn a_disk_keeps_up_if_it_takes_less_than_half_of_the_time() {
        let begin = Instant::now();
        let mut pace = Pace::from(begin);
        let mut block = |at: u64, took: u64| {
            pace.keeps_up(Duration::from_millis(took), begin + Duration::from_millis(at))
        };
        // Together they take all of the time until then, which is no reason yet.
        assert!(block(100, 100) && block(200, 100));
        assert!(block(600, 50));
        assert!(block(700, 100) && block(900, 200));
        assert!(!block(1200, 50));
        // What was before does not count.
        assert!(block(1900, 300));
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, "").unwrap();
        let mut file = DirectFile::new(File::open(&path).unwrap());
        file.write_all(&vec![b'x'; BLOCK]).unwrap();
        file.write_all(b"x").unwrap_err();
        file.flush().unwrap_err();
    }
}
