//! Parquet: files in a directory, each of which has its name only once it is complete.

mod encoder;
mod part;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ::parquet::errors::ParquetError;
use netglass_model::FlowRecord;

use self::{
    encoder::Encoder,
    part::{Leftovers, Part},
};
use super::sink::{FlowBatch, FlowSink, SinkError};

const WRITE: &str = "write flow records to";

/// How many records are put together into a row group, at most. So many are in memory.
const ROW_GROUP: usize = 1 << 16;

/// When a file is completed and the next one begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParquetLimits {
    /// Once it has so many bytes; it has a row group more at most.
    pub bytes: u64,
    /// Once its first record was written so long ago.
    pub age: Duration,
}

impl Default for ParquetLimits {
    fn default() -> Self {
        Self { bytes: 128 << 20, age: Duration::from_secs(300) }
    }
}

/// Writes Parquet files into a directory.
///
/// Records are unfinished until their file is complete: who is killed loses them. On a disk that is
/// full a file stays as it was, and is gone on with when there is room again.
pub struct ParquetSink {
    directory: PathBuf,
    limits: ParquetLimits,
    row_group: usize,
    open: Option<OpenFile>,
    notes: Vec<String>,
}

/// A file that is not complete.
struct OpenFile {
    encoder: Encoder,
    part: Part,
    begun: Instant,
    /// Records that are in no row group yet.
    rows: Vec<FlowRecord>,
    /// How many are in row groups.
    grouped: u64,
    /// What is to be written before anything else.
    unwritten: Vec<u8>,
    /// Whether the end of the file is in what was or is to be written.
    has_end: bool,
}

impl ParquetSink {
    /// For files in this directory, which is made where it is missing. What runs that were killed
    /// have left there, and nobody can read, is removed.
    pub fn open(directory: &Path, limits: ParquetLimits) -> Result<Self, SinkError> {
        Self::open_with(directory, limits, ROW_GROUP)
    }

    fn open_with(
        directory: &Path,
        limits: ParquetLimits,
        row_group: usize,
    ) -> Result<Self, SinkError> {
        let failed = SinkError::from_io("open", &directory.display().to_string());
        fs::create_dir_all(directory).map_err(&failed)?;
        // A relative path would lead elsewhere from another working directory.
        let directory = fs::canonicalize(directory).map_err(&failed)?;
        let Leftovers { files, bytes } = part::remove_leftovers(&directory).map_err(&failed)?;
        let mut notes = Vec::new();
        if files > 0 {
            notes.push(format!(
                "{files} unfinished files ({bytes} bytes) of runs that were killed could not be \
                 read by anybody, and were removed from {}",
                directory.display()
            ));
        }
        Ok(Self { directory, limits, row_group, open: None, notes })
    }

    /// What the user should know and was not told yet.
    #[must_use]
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn target(&self) -> String {
        self.directory.display().to_string()
    }

    /// Completes the file that is open, if it has come to its end.
    fn rotate(&mut self) -> Result<(), SinkError> {
        let limits = self.limits;
        let is_at_end = |open: &OpenFile| {
            open.has_end || open.length() >= limits.bytes || open.begun.elapsed() >= limits.age
        };
        if self.open.as_ref().is_some_and(is_at_end) { self.complete() } else { Ok(()) }
    }

    fn complete(&mut self) -> Result<(), SinkError> {
        let target = self.target();
        if let Some(open) = &mut self.open {
            open.complete(&target)?;
        }
        self.open = None;
        Ok(())
    }
}

impl OpenFile {
    fn create(directory: &Path, target: &str) -> Result<Self, SinkError> {
        let encoder = Encoder::new().map_err(unencodable(target))?;
        let part = Part::create(directory).map_err(SinkError::from_io(WRITE, target))?;
        Ok(Self {
            encoder,
            part,
            begun: Instant::now(),
            rows: Vec::new(),
            grouped: 0,
            unwritten: Vec::new(),
            has_end: false,
        })
    }

    /// How long the file will be with what is to be written.
    fn length(&self) -> u64 {
        self.part.length + self.unwritten.len() as u64
    }

    /// Makes row groups of the records: full ones, or one of all that there are.
    fn group(&mut self, of: usize, target: &str) -> Result<(), SinkError> {
        while self.rows.len() >= of.max(1) {
            let records = self.rows.len().min(of.max(1));
            let group = self.rows.get(..records).unwrap_or_default();
            self.encoder.add(group).map_err(unencodable(target))?;
            self.rows.drain(..records);
            self.grouped += records as u64;
            self.unwritten.extend(self.encoder.take().map_err(unencodable(target))?);
        }
        Ok(())
    }

    fn drain(&mut self, target: &str) -> Result<(), SinkError> {
        if !self.unwritten.is_empty() {
            self.part.append(&self.unwritten).map_err(SinkError::from_io(WRITE, target))?;
            self.unwritten.clear();
        }
        Ok(())
    }

    fn complete(&mut self, target: &str) -> Result<(), SinkError> {
        self.drain(target)?;
        if !self.has_end {
            self.group(self.rows.len(), target)?;
            self.encoder.finish().map_err(unencodable(target))?;
            self.has_end = true;
            self.unwritten.extend(self.encoder.take().map_err(unencodable(target))?);
        }
        self.drain(target)?;
        self.part.complete().map_err(SinkError::from_io(WRITE, target))
    }
}

impl FlowSink for ParquetSink {
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        // What is in the way fails before anything of the batch is taken: once it is, what the disk
        // does not take now is written with the next one.
        self.rotate()?;
        let (target, row_group) = (self.target(), self.row_group);
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(OpenFile::create(&self.directory, &target)?),
        };
        open.drain(&target)?;
        open.group(row_group, &target)?;
        open.rows.extend_from_slice(&batch.records);
        let _ = open.group(row_group, &target).and_then(|()| open.drain(&target));
        let _ = self.rotate();
        Ok(())
    }

    fn unfinished(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.grouped + open.rows.len() as u64)
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        let target = self.target();
        if let Some(open) = &mut self.open {
            open.drain(&target)?;
        }
        self.rotate()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.complete()
    }
}

/// What no disk is to blame for.
fn unencodable(target: &str) -> impl Fn(ParquetError) -> SinkError + use<> {
    let target = target.to_owned();
    move |error| SinkError::Refused {
        action: WRITE,
        target: target.clone(),
        reason: format!("they cannot be encoded ({error}); log them in another format"),
    }
}
