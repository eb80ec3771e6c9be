//! Text to a file, which is appended to. When the file is moved or removed, as those who rotate logs
//! do, another one of its name is begun.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{
    format::{Encoder, TextFormat},
    sink::{FlowBatch, FlowSink, SinkError},
    stream::StreamSink,
};

/// How much is written before the disk is set to work on it.
const WRITTEN_TOGETHER: u64 = 8 << 20;

const OPEN: &str = "open";
const WRITE: &str = "write flow records to";

/// Opens a file to append flow records, which is made where it is missing. What is no regular file,
/// as a named pipe, is written to as a stream is.
pub fn open_file(path: &Path, format: TextFormat) -> Result<Box<dyn FlowSink>, SinkError> {
    let target = path.display().to_string();
    let failed = SinkError::from_io(OPEN, &target);
    // Who opens a pipe to read from it as well is never told that its reader has ended.
    let is_stream = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    let file = open(path, !is_stream).map_err(&failed)?;
    if !file.metadata().map_err(&failed)?.is_file() {
        return Ok(Box::new(StreamSink::new(file, target, format)));
    }
    Ok(Box::new(FileSink::new(path, file, format)?))
}

fn open(path: &Path, read: bool) -> io::Result<File> {
    OpenOptions::new().append(true).read(read).create(true).open(path)
}

/// Appends text to a file: each batch as a whole, or not at all.
#[derive(Debug)]
struct FileSink {
    path: PathBuf,
    file: File,
    target: String,
    format: TextFormat,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// Up to where the file is whole, where there is something behind that.
    torn: Option<u64>,
    /// Up to where the disk is at work on it, or done.
    under_way: u64,
}

impl FileSink {
    fn new(path: &Path, file: File, format: TextFormat) -> Result<Self, SinkError> {
        let target = &path.display().to_string();
        let refused = |reason: &str| SinkError::Refused {
            action: OPEN,
            target: target.to_owned(),
            reason: reason.to_owned(),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused(
                    "another netglass writes to it; stop that one, or name another file",
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(SinkError::from_io(OPEN, target)(error));
            }
        }
        let under_way = file.metadata().map_err(SinkError::from_io(OPEN, target))?.len();
        let mut sink = Self {
            path: path.to_owned(),
            file,
            target: target.clone(),
            format,
            encoder: format.into(),
            buffer: Vec::new(),
            torn: None,
            under_way,
        };
        if !sink.continues().map_err(SinkError::from_io("read", target))? {
            return Err(refused(
                "it holds something else, or flow records of another version; name another file, or \
                 move it away",
            ));
        }
        Ok(sink)
    }

    /// Whether what is there is what this would have written; of an unfinished last line, where it
    /// ends is remembered.
    fn continues(&mut self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length == 0 {
            return Ok(true);
        }
        self.encoder.append_header(&mut self.buffer);
        let header = std::mem::take(&mut self.buffer);
        // JSON has no header, and each of its lines begins so.
        let wanted: &[u8] = if header.is_empty() { b"{\"id\":\"" } else { &header };
        let mut found = Vec::new();
        self.file.try_clone()?.take(wanted.len() as u64).read_to_end(&mut found)?;
        if wanted.starts_with(&found) && found.len() < wanted.len() {
            // Not even its first line was finished.
            self.torn = Some(0);
            return Ok(true);
        }
        if found != wanted {
            return Ok(false);
        }
        let whole = end_of_lines(&self.file, length)?;
        self.torn = (whole < length).then_some(whole);
        Ok(true)
    }

    fn write_batch(&mut self, batch: &FlowBatch) -> io::Result<()> {
        self.mend()?;
        // Somebody may have cut it, as logs are.
        let before = self.file.metadata()?.len();
        self.buffer.clear();
        if before == 0 {
            self.encoder.append_header(&mut self.buffer);
        }
        let text = self.encoder.encode(batch, &mut self.buffer);
        let after = before.saturating_add(text.len() as u64);
        if let Err(error) = self.file.write_all(text) {
            self.torn = Some(before);
            // If it cannot be done now, it is before anything else is written.
            let _ = self.mend();
            return Err(error);
        }
        self.send_off(after);
        Ok(())
    }

    /// Whether the file has its name no more: somebody has moved it, or removed it.
    fn was_moved(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) != (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            // Who may not look there cannot begin another one either.
            Err(_) => Ok(false),
        }
    }

    /// Completes a file that has its name no more, and begins another one.
    fn follow(&mut self) -> Result<(), SinkError> {
        if !self.was_moved().map_err(SinkError::from_io("look at", &self.target))? {
            return Ok(());
        }
        self.complete().map_err(SinkError::from_io(WRITE, &self.target))?;
        let file = open(&self.path, true).map_err(SinkError::from_io(OPEN, &self.target))?;
        *self = Self::new(&self.path, file, self.format)?;
        Ok(())
    }

    /// Has the disk begin with what was written, up to `end`: at the end, little is left to wait for.
    fn send_off(&mut self, end: u64) {
        // Somebody may have cut it.
        self.under_way = self.under_way.min(end);
        if end - self.under_way < WRITTEN_TOGETHER {
            return;
        }
        if let (Ok(start), Ok(length)) =
            (self.under_way.try_into(), (end - self.under_way).try_into())
        {
            // What is not on the disk yet, this sends there and keeps. Where it cannot, the end does.
            let _ =
                posix_fadvise(&self.file, start, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        self.under_way = end;
    }

    /// Takes away what was written in part.
    fn mend(&mut self) -> io::Result<()> {
        if let Some(whole) = self.torn {
            self.file.set_len(whole)?;
            self.torn = None;
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        self.mend()?;
        self.file.sync_all()
    }
}

impl FlowSink for FileSink {
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        self.follow()?;
        self.write_batch(batch).map_err(SinkError::from_io(WRITE, &self.target))
    }

    fn takes_json(&self) -> bool {
        self.format == TextFormat::Json
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        self.follow()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.complete().map_err(SinkError::from_io(WRITE, &self.target))
    }
}

/// Where the last line that is finished ends.
fn end_of_lines(file: &File, length: u64) -> io::Result<u64> {
    const CHUNK: usize = 64 << 10;
    let mut chunk = vec![0; CHUNK];
    let mut end = length;
    while end > 0 {
        let length = usize::try_from(end).unwrap_or(CHUNK).min(CHUNK);
        let start = end - length as u64;
        let wanted = chunk.get_mut(..length).unwrap_or_default();
        file.read_exact_at(wanted, start)?;
        if let Some(newline) = wanted.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
