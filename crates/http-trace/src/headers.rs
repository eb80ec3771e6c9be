//! Headers, as far as they are to be recorded.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    record::Header,
    settings::{HeaderExclusion, HeaderRecording, Recording, RequestRecording},
};

/// How many headers of a message are recorded.
const MAXIMUM_HEADERS: usize = 256;
/// How many bytes of a value are recorded.
const MAXIMUM_VALUE: usize = 16 << 10;

/// Headers whose values give access to something.
const SECRET: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];

/// Headers as they are kept until a trace is taken: in one piece of memory, which is none of the
/// buffer that they were read into.
#[derive(Debug)]
pub(crate) struct KeptHeaders {
    mode: HeaderRecording,
    /// One after the other: [`FIXED`] bytes, the name, and as much of the value as is kept.
    bytes: Box<[u8]>,
}

/// Whether a value is redacted, and three lengths: of the name, of the value, and of what of that
/// is kept.
const FIXED: usize = 1 + 2 + 4 + 4;

impl KeptHeaders {
    /// Nothing where nothing is to be recorded.
    pub(crate) fn of(headers: &HeaderMap, recording: &Recording) -> Option<Self> {
        let RequestRecording { headers: mode, exclude } = recording.requests.as_ref()?;
        if *mode == HeaderRecording::Off || headers.is_empty() {
            return None;
        }
        let mode = *mode;
        let room = |(name, value): (&HeaderName, &HeaderValue)| {
            FIXED + name.as_str().len() + value.len().min(MAXIMUM_VALUE)
        };
        let mut bytes = Vec::with_capacity(headers.iter().map(room).sum());
        let mut count = 0;
        let mut last: Option<&HeaderName> = None;
        for (name, value) in headers {
            // Those of one name follow each other.
            let is_repeated = last.replace(name) == Some(name);
            let excludes = |exclude: &Arc<HeaderExclusion>| exclude(&conventional(name.as_str()));
            if (mode == HeaderRecording::Names && is_repeated)
                || exclude.as_ref().is_some_and(excludes)
            {
                continue;
            }
            let values = mode == HeaderRecording::Values;
            let redacted = values && !recording.secrets && SECRET.contains(&name.as_str());
            let kept = if values && !redacted { value.as_bytes() } else { &[] };
            let kept = kept.get(..MAXIMUM_VALUE).unwrap_or(kept);
            let name = name.as_str().as_bytes();
            // A name of HTTP has less than 64 KiB, and of a value that is longer less is kept.
            let Ok(name_length) = u16::try_from(name.len()) else { continue };
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            bytes.push(u8::from(redacted));
            bytes.extend(name_length.to_ne_bytes());
            bytes.extend(length(value.as_bytes()).to_ne_bytes());
            bytes.extend(length(kept).to_ne_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(kept);
            count += 1;
            if count == MAXIMUM_HEADERS {
                break;
            }
        }
        Some(Self { mode, bytes: bytes.into_boxed_slice() })
    }

    /// As they stand in a trace.
    pub(crate) fn list(&self) -> Vec<Header> {
        let mut rest = &*self.bytes;
        let mut headers = Vec::new();
        while let Some((fixed, others)) = rest.split_first_chunk::<FIXED>() {
            let [redacted, n0, n1, l0, l1, l2, l3, k0, k1, k2, k3] = *fixed;
            let name_length = usize::from(u16::from_ne_bytes([n0, n1])).min(others.len());
            let (name, others) = others.split_at(name_length);
            let kept = usize::try_from(u32::from_ne_bytes([k0, k1, k2, k3])).unwrap_or(usize::MAX);
            let (value, others) = others.split_at(kept.min(others.len()));
            rest = others;
            let redacted = redacted != 0;
            headers.push(Header {
                name: conventional(&String::from_utf8_lossy(name)),
                value: (self.mode == HeaderRecording::Values && !redacted)
                    .then(|| String::from_utf8_lossy(value).into_owned()),
                length: (self.mode != HeaderRecording::Names)
                    .then_some(u32::from_ne_bytes([l0, l1, l2, l3])),
                redacted,
            });
        }
        headers
    }
}

/// The same at once.
pub(crate) fn record(headers: &HeaderMap, recording: &Recording) -> Vec<Header> {
    KeptHeaders::of(headers, recording).map(|kept| kept.list()).unwrap_or_default()
}

/// A name as it is written by convention: `Content-Type`.
fn conventional(name: &str) -> String {
    let mut first = true;
    let letters = name.chars().map(|letter| {
        let shown = if first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        first = letter == '-';
        shown
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let pairs = [("x-two", "one"), ("x-two", "three"), ("authorization", "Bearer abc")];
        pairs
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn recorded(
        mode: HeaderRecording,
        secrets: bool,
    ) -> Vec<(String, Option<String>, Option<u32>)> {
        let exclude: Option<Arc<HeaderExclusion>> = None;
        let requests = Some(RequestRecording { headers: mode, exclude });
        let recording = Recording { requests, secrets, ..Recording::default() };
        let headers = record(&headers(), &recording);
        headers.into_iter().map(|header| (header.name, header.value, header.length)).collect()
    }

    #[test]
    fn as_much_is_recorded_as_is_asked_for() {
        let name = |name: &str| name.to_owned();
        assert_eq!(recorded(HeaderRecording::Off, true), []);
        assert_eq!(
            recorded(HeaderRecording::Names, true),
            [(name("X-Two"), None, None), (name("Authorization"), None, None)]
        );
        assert_eq!(
            recorded(HeaderRecording::Lengths, false)[1..],
            [(name("X-Two"), None, Some(5)), (name("Authorization"), None, Some(10))]
        );
        assert_eq!(
            recorded(HeaderRecording::Values, true)[2],
            (name("Authorization"), Some("Bearer abc".to_owned()), Some(10))
        );
    }

    #[test]
    fn secrets_are_not_recorded_unless_asked_for() {
        assert_eq!(recorded(HeaderRecording::Values, false)[2].1, None);
    }
}
