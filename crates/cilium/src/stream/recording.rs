//! Our own recordings: events with the time at which they were received.
//!
//! A recording begins with [`MAGIC`]. Each event is a length (32 bits), the time (64 bits, nanoseconds
//! since 1970, the least number if it is not known), the processor (64), the type of its payload (64),
//! what was lost (64), all little-endian, and its data. The length is that of all behind it.

use netglass_model::Timestamp;

use super::{Pending, StreamError};
use crate::{event::Event, limits};

/// What a recording begins with: its name and version.
pub const MAGIC: &[u8; 8] = b"NGMON\0\x01\n";

/// An event without its length and data.
const HEADER: usize = 32;

/// Appends what a recording begins with.
pub fn write_start(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
}

/// Appends an event. One that is longer than can be read again is refused.
pub fn write_event(out: &mut Vec<u8>, event: &Event<'_>) -> Result<(), StreamError> {
    let length = HEADER + event.data.len();
    if length > limits::MESSAGE {
        return Err(StreamError::TooLong { position: 0, length: length as u64 });
    }
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    let at = event.at.map_or(i64::MIN, Timestamp::as_nanoseconds);
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&event.cpu.to_le_bytes());
    out.extend_from_slice(&event.payload_type.to_le_bytes());
    out.extend_from_slice(&event.lost.to_le_bytes());
    out.extend_from_slice(event.data);
    Ok(())
}

/// A recording that is read.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    pending: Pending,
    has_begun: bool,
}

impl Recording {
    /// Appends bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// The next event, if it is whole.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        if !self.has_begun {
            let Some(start) = self.pending.rest().first_chunk::<8>() else { return Ok(None) };
            if start != MAGIC {
                let reason = "it is no recording of this version";
                return Err(StreamError::Record { position: 0, reason });
            }
            self.has_begun = true;
            self.pending.position += MAGIC.len();
        }
        let position = self.pending.place();
        let rest = self.pending.rest();
        let Some((length, behind)) = rest.split_first_chunk() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > limits::MESSAGE {
            return Err(StreamError::TooLong { position, length: length as u64 });
        }
        if length < HEADER {
            let reason = "a record is shorter than its header";
            return Err(StreamError::Record { position, reason });
        }
        if behind.len() < length {
            return Ok(None);
        }
        let start = self.pending.position + size_of::<u32>();
        self.pending.position = start + length;
        let record = self.pending.bytes.get(start..start + length).unwrap_or_default();
        let Some((header, data)) = record.split_first_chunk::<HEADER>() else { return Ok(None) };
        let (words, _) = header.as_chunks::<8>();
        let [at, cpu, payload_type, lost] = words else { return Ok(None) };
        let at = i64::from_le_bytes(*at);
        Ok(Some(Event {
            at: (at != i64::MIN).then(|| Timestamp::from_nanoseconds(at)),
            cpu: i64::from_le_bytes(*cpu),
            payload_type: i64::from_le_bytes(*payload_type),
            lost: u64::from_le_bytes(*lost),
            data,
        }))
    }

    /// Fails if the recording ends in the middle of an event.
    pub fn finish(&self) -> Result<(), StreamError> {
        self.pending.finish()
    }
}
