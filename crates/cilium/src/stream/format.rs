//! Streams in whatever format they are.

use super::{GobStream, JsonLines, MAGIC, MetaStream, Omitted, Recording, StreamError};
use crate::event::Event;

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As the socket of API 1.2 sends it.
    Gob,
    /// As the socket of API 1.0 sends it.
    Meta,
    /// Lines of JSON.
    JsonLines,
    /// Our own recording.
    Recording,
}

/// How many bytes tell the format.
const ENOUGH: usize = 32;

impl Format {
    /// What a stream that begins so is. `None` if more bytes are needed to tell.
    #[must_use]
    pub fn detect(start: &[u8], is_all: bool) -> Option<Self> {
        let own = start.len().min(MAGIC.len());
        if start.get(..own) == MAGIC.get(..own) && own > 0 && (own == MAGIC.len() || !is_all) {
            return (own == MAGIC.len()).then_some(Self::Recording);
        }
        let blank = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match start.get(blank..).unwrap_or_default() {
            // A message of gob that is as long as this character's number goes on with a negative number.
            [b'{', b'"' | b' ' | b'\t' | b'\r' | b'\n' | b'}', ..] => return Some(Self::JsonLines),
            [b'{'] | [] if !is_all => return None,
            _ => {}
        }
        if start.len() < ENOUGH && !is_all {
            return None;
        }
        let reserved = start.get(4..ENOUGH);
        let is_meta = reserved.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        Some(if is_meta { Self::Meta } else { Self::Gob })
    }
}

/// A stream that is read.
#[derive(Debug, Clone)]
enum Reader {
    /// What it is, is not known yet.
    Unknown(Vec<u8>),
    Gob(GobStream),
    Meta(MetaStream),
    JsonLines(JsonLines),
    Recording(Recording),
}

/// A stream that is read, in whatever format it is.
#[derive(Debug, Clone)]
pub struct StreamReader {
    reader: Reader,
    omitted: Omitted,
}

impl StreamReader {
    /// One of a format, or of one that is told by how it begins.
    #[must_use]
    pub fn new(format: Option<Format>, omitted: Omitted) -> Self {
        let reader = format.map_or(Reader::Unknown(Vec::new()), |it| Reader::new(it, omitted));
        Self { reader, omitted }
    }

    /// The format, if it is known by now.
    #[must_use]
    pub const fn format(&self) -> Option<Format> {
        match self.reader {
            Reader::Unknown(_) => None,
            Reader::Gob(_) => Some(Format::Gob),
            Reader::Meta(_) => Some(Format::Meta),
            Reader::JsonLines(_) => Some(Format::JsonLines),
            Reader::Recording(_) => Some(Format::Recording),
        }
    }

    /// Appends bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.reader {
            Reader::Unknown(start) => {
                start.extend_from_slice(bytes);
                self.detect(false);
            }
            Reader::Gob(it) => it.push(bytes),
            Reader::Meta(it) => it.push(bytes),
            Reader::JsonLines(it) => it.push(bytes),
            Reader::Recording(it) => it.push(bytes),
        }
    }

    /// No more bytes come: what is left may still be events.
    pub fn end(&mut self) {
        self.detect(true);
        if let Reader::JsonLines(it) = &mut self.reader {
            it.end();
        }
    }

    fn detect(&mut self, is_all: bool) {
        let Reader::Unknown(start) = &mut self.reader else { return };
        let Some(format) = Format::detect(start, is_all) else { return };
        let start = std::mem::take(start);
        self.reader = Reader::new(format, self.omitted);
        self.push(&start);
    }

    /// The next event, if it is whole.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        match &mut self.reader {
            Reader::Unknown(_) => Ok(None),
            Reader::Gob(it) => it.next_event(),
            Reader::Meta(it) => it.next_event(),
            Reader::JsonLines(it) => it.next_event(),
            Reader::Recording(it) => it.next_event(),
        }
    }

    /// Fails if the stream ends in the middle of an event.
    pub fn finish(&self) -> Result<(), StreamError> {
        match &self.reader {
            Reader::Unknown(start) => super::finish(start),
            Reader::JsonLines(it) => it.finish(),
            Reader::Gob(it) => it.finish(),
            Reader::Meta(it) => it.finish(),
            Reader::Recording(it) => it.finish(),
        }
    }
}

impl Reader {
    fn new(format: Format, omitted: Omitted) -> Self {
        match format {
            Format::Gob => Self::Gob(GobStream::new(omitted)),
            Format::Meta => Self::Meta(MetaStream::default()),
            Format::JsonLines => Self::JsonLines(JsonLines::default()),
            Format::Recording => Self::Recording(Recording::default()),
        }
    }
}
