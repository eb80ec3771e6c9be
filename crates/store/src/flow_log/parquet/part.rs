//! Files that get their name when they are complete.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use uuid::Uuid;

use crate::flow_log::{columns::Value, text::Text};

const PREFIX: &str = "flows-";
const SUFFIX: &str = ".parquet";
/// Hidden, and of no kind that anybody would take for a whole file.
const PART_PREFIX: &str = ".";
const PART_SUFFIX: &str = ".part";

/// A file that is being written, under a name of its own. It goes when this is dropped before it is
/// complete.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    name: String,
    /// How many bytes are in it.
    pub(super) length: u64,
    is_complete: bool,
}

/// What a run has left that was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Part {
    /// Makes a file in the directory, whose name will say when that was.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let name = name();
            let path = directory.join(format!("{PART_PREFIX}{name}{PART_SUFFIX}"));
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            // It says that somebody works at it.
            file.lock()?;
            if file.metadata()?.nlink() > 0 {
                let directory = directory.to_owned();
                return Ok(Self { file, path, directory, name, length: 0, is_complete: false });
            }
            // Before it was locked, somebody took it for what a killed run had left.
        }
    }

    /// Adds all of the bytes, or none of them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What was written of them before and could not be taken away.
        if self.file.metadata()?.len() != self.length {
            self.cut()?;
        }
        if let Err(error) = self.file.write_all(bytes) {
            // If that cannot be done now, it is before anything else is written.
            let _ = self.cut();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Takes away what is behind the bytes that were added.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(io::SeekFrom::Start(self.length)).map(drop)
    }

    /// Has the file survive a loss of power, and gives it its name.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.directory.join(&self.name))?;
        self.is_complete = true;
        // Whether the name survives a loss of power does not change that it is complete now.
        let _ = File::open(&self.directory).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what runs have left that were killed: nobody can read it.
pub(super) fn remove_leftovers(directory: &Path) -> io::Result<Leftovers> {
    let mut leftovers = Leftovers::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_part) {
            continue;
        }
        let file = match OpenOptions::new().write(true).open(entry.path()) {
            Ok(file) => file,
            // It has its name now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {
                leftovers.files += 1;
                leftovers.bytes += file.metadata()?.len();
                fs::remove_file(entry.path())?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(leftovers)
}

fn is_part(name: &str) -> bool {
    let name = name.strip_prefix(PART_PREFIX).and_then(|name| name.strip_suffix(PART_SUFFIX));
    name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// `flows-20260131T140000Z-0f1e2d3c4b5a.parquet`: names sort by the second, and no two are the same.
fn name() -> String {
    let mut moment = Vec::new();
    Text::new(&mut moment).append(Value::Timestamp(SystemTime::now().into()));
    let moment = String::from_utf8_lossy(&moment);
    let (seconds, _) = moment.split_once('.').unwrap_or((&moment, ""));
    let seconds = seconds.replace(['-', ':'], "");
    // The random part of it.
    let (_, random) = Uuid::now_v7().as_u64_pair();
    format!("{PREFIX}{seconds}Z-{:012x}{SUFFIX}", random & 0xffff_ffff_ffff)
}
