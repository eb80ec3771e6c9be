//! Events from files and pipes.

use std::{
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

use anyhow::Context as _;
use netglass_cilium::stream::StreamReader;

use super::{arguments::LineArguments, sink::Sink, socket::omitted};
use crate::capturing::Stream;

/// How much is read at once.
const PIECE: usize = 1 << 16;

/// A file from which events come.
pub(super) struct File {
    name: String,
    input: Box<dyn Read>,
    reader: StreamReader,
}

impl File {
    pub(super) fn open(path: &Path, lines: &LineArguments) -> anyhow::Result<Self> {
        let is_standard = path.as_os_str() == "-";
        let name = if is_standard {
            "standard input".to_owned()
        } else {
            path.to_string_lossy().into_owned()
        };
        let opening = || format!("opening {name}");
        let input: Box<dyn Read> = match Stream::open(path).with_context(opening)? {
            Some(stream) => Box::new(stream),
            None if is_standard => Box::new(std::io::stdin()),
            None => Box::new(fs::File::open(path).with_context(opening)?),
        };
        let reader = StreamReader::new(None, omitted(lines));
        Ok(Self { name, input, reader })
    }

    /// Reads to the end, or until it is told to end.
    pub(super) fn run(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let reading = || format!("reading {}", self.name);
        let mut piece = vec![0; PIECE];
        let mut goes_on = sink.begin()?;
        while goes_on {
            let length = match self.input.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    goes_on = sink.idle()?;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).with_context(reading),
            };
            self.reader.push(piece.get(..length).unwrap_or_default());
            while goes_on && let Some(event) = self.reader.next_event().with_context(reading)? {
                goes_on = sink.take(&event)?;
            }
        }
        if !goes_on {
            return Ok(());
        }
        self.reader.end();
        while let Some(event) = self.reader.next_event().with_context(reading)? {
            if !sink.take(&event)? {
                return Ok(());
            }
        }
        self.reader.finish().with_context(reading)
    }
}
