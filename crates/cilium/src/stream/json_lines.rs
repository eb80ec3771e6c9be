//! Events as lines of JSON, each an object with `hex`, and if they are not the usual `cpu`,
//! `payload_type`, `lost` and `time`. Other keys are passed over.

use jiff::Timestamp as Moment;
use netglass_model::Timestamp;
use serde_json::Value;

use super::{Pending, StreamError};
use crate::{event::Event, limits};

/// Lines of JSON.
#[derive(Debug, Clone, Default)]
pub struct JsonLines {
    pending: Pending,
    line: u64,
    data: Vec<u8>,
}

impl JsonLines {
    /// Appends bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// The next event, if its line is whole.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        loop {
            let rest = self.pending.rest();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > limits::MESSAGE {
                    let position = self.pending.place();
                    return Err(StreamError::TooLong { position, length: rest.len() as u64 });
                }
                return Ok(None);
            };
            self.line += 1;
            let start = self.pending.position;
            self.pending.position += length + 1;
            let line = self.pending.bytes.get(start..start + length).unwrap_or_default();
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let number = self.line;
            let failed = |reason| StreamError::Line { line: number, reason };
            return read(line, &mut self.data).map(Some).map_err(failed);
        }
    }

    /// Takes what is left as the last line, which needs no end.
    pub fn end(&mut self) {
        if !self.pending.rest().is_empty() {
            self.pending.push(b"\n");
        }
    }

    /// Fails if there are bytes of a line that is not taken.
    pub fn finish(&self) -> Result<(), StreamError> {
        self.pending.finish()
    }
}

fn read<'a>(line: &[u8], data: &'a mut Vec<u8>) -> Result<Event<'a>, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let hex = value.get("hex").ok_or("the key hex is missing")?;
    let hex = hex.as_str().ok_or("hex is no text")?;
    read_hex(hex, data).ok_or("hex is no even number of hexadecimal digits")?;
    let mut event = Event::sample(0, data);
    let number = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(format!("{key} is no whole number")),
    };
    event.cpu = number("cpu")?.unwrap_or_default();
    event.payload_type = number("payload_type")?.unwrap_or(event.payload_type);
    event.lost = match value.get("lost") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_u64().ok_or("lost is no whole number from 0 on")?,
    };
    event.at = match value.get("time").and_then(Value::as_str) {
        None => None,
        Some(time) => {
            let moment: Moment = time.parse().map_err(|_| "time is not as in RFC 3339")?;
            let nanoseconds = i64::try_from(moment.as_nanosecond());
            Some(Timestamp::from_nanoseconds(nanoseconds.map_err(|_| "time is too far away")?))
        }
    };
    Ok(event)
}

fn read_hex(text: &str, data: &mut Vec<u8>) -> Option<()> {
    data.clear();
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    for pair in pairs {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        data.push(u8::try_from(high? << 4 | low?).ok()?);
    }
    Some(())
}
