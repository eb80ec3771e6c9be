//! Streams of events: from Cilium's sockets, and recorded.
//!
//! Bytes are pushed as they come, and events taken as soon as they are whole. What a stream may make
//! us keep is bounded: [`crate::limits::MESSAGE`] for one event that is not whole yet.

mod format;
mod gob_stream;
mod json_lines;
mod meta_stream;
mod recording;

use thiserror::Error;

pub use self::{
    format::{Format, StreamReader},
    gob_stream::{GobStream, Omitted},
    json_lines::JsonLines,
    meta_stream::MetaStream,
    recording::{MAGIC, Recording, write_event, write_start},
};
use crate::gob::GobError;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// What the agent wrote is not understood.
    #[error("byte {position}: {error}")]
    Gob {
        /// Where what is not understood begins, from the start of the stream.
        position: u64,
        /// Why.
        error: GobError,
    },
    /// A line is none of a recording.
    #[error("line {line}: {reason}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// A record is longer than is taken.
    #[error("byte {position}: a record of {length} bytes is longer than is taken")]
    TooLong {
        /// Where it begins, from the start of the stream.
        position: u64,
        /// How long it says to be.
        length: u64,
    },
    /// A record is none of ours.
    #[error("byte {position}: {reason}")]
    Record {
        /// Where it begins, from the start of the stream.
        position: u64,
        /// Why.
        reason: &'static str,
    },
    /// The stream ends in the middle of an event.
    #[error("it ends in the middle of an event: {length} bytes behind the last whole one are lost")]
    Incomplete {
        /// How many bytes there are of it.
        length: u64,
    },
}

/// Bytes of a stream that were not taken yet.
#[derive(Debug, Clone, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// How many of them were taken.
    position: usize,
    /// How many were taken before the first of them.
    before: u64,
}

impl Pending {
    /// Appends bytes; what was taken is forgotten first.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.position);
        self.before += self.position as u64;
        self.position = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not taken.
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The place of the next byte in the stream.
    fn place(&self) -> u64 {
        self.before + self.position as u64
    }

    /// Fails if there is something left at the end of a stream.
    fn finish(&self) -> Result<(), StreamError> {
        finish(self.rest())
    }
}

/// Fails if there is something left at the end of a stream.
fn finish(rest: &[u8]) -> Result<(), StreamError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(StreamError::Incomplete { length: rest.len() as u64 })
}
