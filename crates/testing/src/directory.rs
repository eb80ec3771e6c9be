//! Directories of a test's own.

use std::{env, path::PathBuf};

use tempfile::TempDir;

/// A directory that goes when it is dropped, in memory where that can be had: a disk that is busy
/// makes each sync wait for seconds.
pub fn directory_in_memory() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { env::temp_dir() };
    tempfile::tempdir_in(folder).expect("a directory can be made")
}
