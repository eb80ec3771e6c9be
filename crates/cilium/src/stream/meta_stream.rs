//! Payloads as the socket of API 1.0 sends them: each with its length before it, and a gob stream of its
//! own.

use super::{GobStream, Omitted, Pending, StreamError};
use crate::{event::Event, gob::GobError, limits};

/// The length, and bytes that are reserved.
const META: usize = 32;

/// A stream of payloads.
#[derive(Debug, Clone)]
pub struct MetaStream {
    pending: Pending,
    /// The stream of the last payload, which holds its data.
    payload: GobStream,
}

impl Default for MetaStream {
    fn default() -> Self {
        Self { pending: Pending::default(), payload: GobStream::new(Omitted::Zero) }
    }
}

impl MetaStream {
    /// Appends bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// The next event, if it is whole.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        let position = self.pending.place();
        let rest = self.pending.rest();
        let Some((meta, behind)) = rest.split_first_chunk::<META>() else { return Ok(None) };
        let [a, b, c, d, ..] = *meta;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > limits::MESSAGE {
            return Err(StreamError::TooLong { position, length: length as u64 });
        }
        let Some(bytes) = behind.get(..length) else { return Ok(None) };
        self.payload = GobStream::new(Omitted::Zero);
        self.payload.push(bytes);
        self.pending.position += META + length;
        match self.payload.next_event() {
            Ok(Some(event)) => Ok(Some(event)),
            Ok(None) => Err(StreamError::Gob { position, error: GobError::UnexpectedEof }),
            Err(StreamError::Gob { error, .. }) => Err(StreamError::Gob { position, error }),
            Err(error) => Err(error),
        }
    }

    /// Fails if the stream ends in the middle of an event.
    pub fn finish(&self) -> Result<(), StreamError> {
        self.pending.finish()
    }
}
