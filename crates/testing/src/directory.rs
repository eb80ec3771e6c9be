//! Directories of a test's own.

use std::{env, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::process::run;

/// A directory that goes when it is dropped, in memory where that can be had: a disk that is busy
/// makes each sync wait for seconds.
pub fn directory_in_memory() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { env::temp_dir() };
    tempfile::tempdir_in(folder).expect("a directory can be made")
}

/// A file system in which maps and programs of the kernel are pinned (`bpf(2)`), of a test's own:
/// not every machine has one. It takes root.
#[derive(Debug)]
pub struct BpfFileSystem {
    directory: TempDir,
}

impl BpfFileSystem {
    /// An empty one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "making it mounts it")]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(directory.path()));
        Self { directory }
    }

    /// Where something of this name is pinned.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for BpfFileSystem {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it.
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).status();
    }
}
