//! Headers, as far as they are to be recorded.

use http::HeaderMap;

use crate::{
    record::Header,
    settings::{HeaderRecording, Recording},
};

/// How many headers of a message are recorded.
const MAXIMUM_HEADERS: usize = 256;
/// How many bytes of a value are recorded.
const MAXIMUM_VALUE: usize = 16 << 10;

/// Headers whose values give access to something.
const SECRET: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];

pub(crate) fn record(headers: &HeaderMap, recording: &Recording) -> Vec<Header> {
    let Some(requests) = &recording.requests else { return Vec::new() };
    if requests.headers == HeaderRecording::Off {
        return Vec::new();
    }
    let mut recorded = Vec::new();
    for name in headers.keys() {
        let shown = conventional(name.as_str());
        if requests.exclude.as_ref().is_some_and(|exclude| exclude(&shown)) {
            continue;
        }
        for value in headers.get_all(name) {
            if recorded.len() >= MAXIMUM_HEADERS {
                return recorded;
            }
            let redacted = !recording.secrets
                && SECRET.contains(&name.as_str())
                && requests.headers == HeaderRecording::Values;
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            let kept = value.as_bytes().get(..MAXIMUM_VALUE).unwrap_or(value.as_bytes());
            let header = Header {
                name: shown.clone(),
                value: (requests.headers == HeaderRecording::Values && !redacted)
                    .then(|| String::from_utf8_lossy(kept).into_owned()),
                length: (requests.headers != HeaderRecording::Names).then_some(length),
                redacted,
            };
            recorded.push(header);
            if requests.headers == HeaderRecording::Names {
                break;
            }
        }
    }
    recorded
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
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::settings::RequestRecording;

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
        let exclude: Option<Arc<crate::settings::HeaderExclusion>> = None;
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
