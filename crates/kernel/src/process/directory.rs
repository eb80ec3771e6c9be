//! The directory of a process under `/proc`.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use rustix::fs::{Mode, OFlags};

use crate::Error;

/// More than any file that is read here can sensibly be long.
const MAXIMUM_LENGTH: usize = 64 * 1024;

/// The directory of one process. It stays that process's own after the process has ended.
#[derive(Debug)]
pub(crate) struct ProcessDirectory {
    directory: OwnedFd,
}

/// Opens the directory of `pid`.
pub(crate) fn directory(pid: u32) -> io::Result<ProcessDirectory> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
    Ok(ProcessDirectory { directory })
}

impl ProcessDirectory {
    /// The whole of a file.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open(name, OFlags::RDONLY)?;
        let mut bytes = Vec::with_capacity(2048);
        let limited = io::Read::take(fs::File::from(file), MAXIMUM_LENGTH as u64);
        io::copy(&mut { limited }, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a link points.
    pub(crate) fn link(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.directory, name, Vec::new())?.into_bytes())
    }

    /// Where we have it open.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.directory.as_raw_fd()
    }

    /// Opens a file or directory in it.
    pub(crate) fn open(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(&self.directory, name, flags | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// The ids of all processes that can be seen.
pub(crate) fn process_ids() -> Result<impl Iterator<Item = u32>, Error> {
    let entries = fs::read_dir("/proc").map_err(|source| Error::read("/proc", source))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}
