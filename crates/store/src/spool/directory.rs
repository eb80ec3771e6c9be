//! The directory of a spool, and the files in it that are no segments.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    error::SpoolError,
    format::{POSITION_LENGTH, Position},
};

const SUFFIX: &str = ".spool";
const LOCK: &str = "lock";
const POSITION: &str = "position";

/// The directory, which no other process uses while this is held.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    position: File,
    _lock: File,
}

impl Directory {
    /// Opens it, for its owner alone where it has to be made.
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = SpoolError::from_io("open", path);
        if !path.exists() {
            make(path).map_err(&failed)?;
        }
        // A relative path would lead elsewhere from another working directory.
        let path = fs::canonicalize(path).map_err(&failed)?;
        if !path.is_dir() {
            return Err(SpoolError::NotDirectory { directory: path });
        }
        let open = |name| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(path.join(name)).map_err(&failed)
        };
        let lock = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::Locked { directory: path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let handle = File::open(&path).map_err(&failed)?;
        let position = open(POSITION)?;
        Ok(Self { path, handle, position, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The paths of the segments, the oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<PathBuf>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if number_of(&path).is_some() {
                segments.push(path);
            }
        }
        // All names have the same length.
        segments.sort_unstable();
        Ok(segments)
    }

    /// The path of the segment that begins at `first`.
    pub(super) fn segment(&self, first: Position) -> PathBuf {
        self.path.join(format!("{:020}{SUFFIX}", first.number))
    }

    /// Makes sure that a file which was made in it survives a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// The place up to which everything was delivered or lost; the very start where that is not
    /// known.
    pub(super) fn position(&self) -> io::Result<Position> {
        let mut bytes = [0; POSITION_LENGTH];
        match self.position.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Position::from_bytes(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Position::default()),
            Err(error) => Err(error),
        }
    }

    /// Remembers it. After a loss of power it may be an older one, or none: then something is
    /// delivered again, which a database does not mind.
    pub(super) fn set_position(&self, position: Position) -> io::Result<()> {
        self.position.write_all_at(&position.to_bytes(), 0)
    }
}

/// The number of the first record of a segment, by its name.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // That they were made has to survive a loss of power. Those above that were there already may
    // be unreadable, and need not be written.
    for above in fs::canonicalize(path)?.ancestors().skip(1) {
        let Ok(directory) = File::open(above) else { break };
        directory.sync_all()?;
    }
    Ok(())
}
