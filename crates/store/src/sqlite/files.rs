//! The files of a database, as the file system sees them.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::fault::Fault;

/// Which file a path led to: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file at `path` now.
    pub(super) fn of(path: &Path) -> Result<Self, Fault> {
        let metadata = regular(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// The file at `path`, if it is one that can be a database.
pub(super) fn regular(path: &Path) -> Result<Metadata, Fault> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Io(error),
    })?;
    if metadata.is_dir() {
        Err(Fault::Directory)
    } else if metadata.is_file() {
        Ok(metadata)
    } else {
        // A pipe would block whoever opens it, a device may do anything.
        Err(Fault::NotRegular)
    }
}

/// Whether the write-ahead log of the database at `path` holds anything.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(log(path)).is_ok_and(|metadata| metadata.len() > 0)
}

/// Whether there is a write-ahead log at all, as there is while anyone writes.
pub(super) fn log_exists(path: &Path) -> bool {
    fs::exists(log(path)).unwrap_or(true)
}

fn log(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    PathBuf::from(log)
}

/// Makes an empty file at `path` if there is none, with the directories that lead to it.
///
/// Both are for their owner alone: the database says who talks to whom. `SQLite` gives the files
/// that it makes beside the database the same permissions.
pub(super) fn create(path: &Path) -> Result<(), Fault> {
    // POSIX drops all locks that a process holds on a file as soon as it closes any descriptor of
    // it. Under this lock no other thread can get to the file through SQLite before ours is closed.
    static CREATION: Mutex<()> = Mutex::new(());
    let _guard = CREATION.lock().unwrap_or_else(PoisonError::into_inner);

    if fs::exists(path)? {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// The URI of the database at the absolute `path`, opened as a file that nobody changes: without
/// locks, and without any file beside it.
pub(super) fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02x}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}
