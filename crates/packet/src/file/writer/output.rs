//! Where a capture is written to.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Where a capture is written to.
pub(super) struct Output {
    kind: Kind,
    /// Part of a block was written, and could not be taken back: what followed could not be read.
    broken: bool,
}

enum Kind {
    File(File),
    Stream(Box<dyn Write + Send>),
}

impl Output {
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        // What others say to each other is nobody else's business.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { kind: Kind::File(file), broken: false })
    }

    pub(super) fn stream(write: impl Write + Send + 'static) -> Self {
        Self { kind: Kind::Stream(Box::new(write)), broken: false }
    }

    /// Takes back what was written beyond `length`. Where that cannot be done, nothing is written any
    /// more.
    pub(super) fn cut(&mut self, length: u64) {
        let cut = match &mut self.kind {
            Kind::File(file) => {
                file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length))).is_ok()
            }
            Kind::Stream(_) => false,
        };
        self.broken = !cut;
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            _ if self.broken => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "an earlier write ended in the middle of a packet",
            )),
            Kind::File(file) => file.write(bytes),
            Kind::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::File(file) => file.flush(),
            Kind::Stream(stream) => stream.flush(),
        }
    }
}
