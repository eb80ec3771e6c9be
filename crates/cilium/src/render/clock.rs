//! When something was, as text.

use std::io::Write as _;

use netglass_model::Timestamp;

const NANOSECONDS: i64 = 1_000_000_000;

/// Writes moments: of those in the same second, only the rest of it is written anew.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Clock {
    /// Appends a moment as RFC 3339 has it, in UTC, with microseconds.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, at: Timestamp) {
        let nanoseconds = at.as_nanoseconds();
        let second = nanoseconds.div_euclid(NANOSECONDS);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
            // Writing to a Vec cannot fail.
            let _ = write!(self.text, "{moment}");
            self.text.pop();
        }
        out.extend_from_slice(&self.text);
        let microseconds = nanoseconds.rem_euclid(NANOSECONDS) / 1000;
        // The digit before them is cut off.
        let start = out.len();
        super::put_number(out, microseconds + 1_000_000);
        if let Some(first) = out.get_mut(start) {
            *first = b'.';
        }
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_microseconds() {
        let mut clock = Clock::default();
        let mut text = |nanoseconds| {
            let mut out = Vec::new();
            clock.put(&mut out, Timestamp::from_nanoseconds(nanoseconds));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(1_779_584_400_000_456_789), "2026-05-24T01:00:00.000456Z");
        assert_eq!(text(1_779_584_400_999_999_999), "2026-05-24T01:00:00.999999Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999Z");
    }
}
