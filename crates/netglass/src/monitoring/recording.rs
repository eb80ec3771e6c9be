//! Writing events to a recording.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use netglass_cilium::{
    Event,
    stream::{write_event, write_start},
};

/// A recording that is written.
pub(super) struct Recording {
    path: PathBuf,
    out: Box<dyn Write>,
    buffer: Vec<u8>,
}

/// How much is written at once.
const ENOUGH: usize = 1 << 16;

impl Recording {
    /// Begins a recording of what comes from `source`.
    pub(super) fn create(path: &Path, source: Option<&Path>) -> anyhow::Result<Self> {
        let name = path.display();
        let out: Box<dyn Write> = if path.as_os_str() == "-" {
            Box::new(io::stdout())
        } else {
            let is_same = source.is_some_and(|source| {
                source == path
                    || matches!((source.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b)
            });
            ensure!(!is_same, "{name} is read: writing to it would destroy it");
            Box::new(File::create(path).with_context(|| format!("creating the recording {name}"))?)
        };
        let mut buffer = Vec::new();
        write_start(&mut buffer);
        Ok(Self { path: path.to_owned(), out, buffer })
    }

    /// Appends an event.
    pub(super) fn write(&mut self, event: &Event<'_>) -> anyhow::Result<()> {
        write_event(&mut self.buffer, event)?;
        if self.buffer.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    /// Writes what was not written yet.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        written.with_context(|| format!("writing the recording {}", self.path.display()))
    }
}
