//! What others write to while it is read: a pipe, a terminal, a socket.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

/// For how long is waited before something else is looked at.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What others write to while it is read. It says [`io::ErrorKind::WouldBlock`] when nothing comes for
/// a while.
pub(crate) struct Stream(File);

impl Stream {
    /// What `path` names, `-` being standard input; none if that is no stream.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        if path.as_os_str() == "-" {
            let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let is_stream = !file.metadata()?.is_file();
            return Ok(is_stream.then_some(Self(file)));
        }
        if !fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo()) {
            return Ok(None);
        }
        // Without that, opening waits for somebody who writes.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        Ok(Some(Self(file)))
    }

    /// Whether there is something to read, or the end. It is waited for a while.
    pub(super) fn is_ready(&self) -> io::Result<bool> {
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&WAIT)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_ready()? { self.0.read(buffer) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}
