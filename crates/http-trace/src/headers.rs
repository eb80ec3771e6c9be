//! Headers, as far as they are to be recorded.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    record::{Headers, HeadersWriter, conventional},
    settings::{HeaderExclusion, HeaderRecording, Recording, RequestRecording},
};

/// How many headers of a message are recorded.
const MAXIMUM_HEADERS: usize = 256;
/// How many bytes of a value are recorded.
const MAXIMUM_VALUE: usize = 16 << 10;

/// Headers whose values give access to something.
const SECRET: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];

/// A message's headers for its record; nothing where nothing is to be recorded.
pub(crate) fn recorded(headers: &HeaderMap, recording: &Recording) -> Option<Headers> {
    let RequestRecording { headers: mode, exclude } = recording.requests.as_ref()?;
    if *mode == HeaderRecording::Off || headers.is_empty() {
        return None;
    }
    let room = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len().min(MAXIMUM_VALUE)
    };
    let mut writer = HeadersWriter::with_capacity(headers.len(), headers.iter().map(room).sum());
    let mut count = 0;
    let mut last: Option<&HeaderName> = None;
    for (name, value) in headers {
        // Those of one name follow each other.
        let is_repeated = last.replace(name) == Some(name);
        let excludes = |exclude: &Arc<HeaderExclusion>| exclude(&conventional(name.as_str()));
        if (*mode == HeaderRecording::Names && is_repeated)
            || exclude.as_ref().is_some_and(excludes)
        {
            continue;
        }
        let values = *mode == HeaderRecording::Values;
        let redacted = values && !recording.secrets && SECRET.contains(&name.as_str());
        let kept = value.as_bytes();
        let kept = kept.get(..MAXIMUM_VALUE).unwrap_or(kept);
        let length = (*mode != HeaderRecording::Names)
            .then(|| u32::try_from(value.len()).unwrap_or(u32::MAX));
        let kept = (values && !redacted).then_some(kept);
        writer.push((name.as_str(), true), kept, length, redacted);
        count += 1;
        if count == MAXIMUM_HEADERS {
            break;
        }
    }
    Some(writer.finish())
}

/// The same of a message whose record has a list in any case.
pub(crate) fn record(headers: &HeaderMap, recording: &Recording) -> Headers {
    recorded(headers, recording).unwrap_or_default()
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

    fn told(mode: HeaderRecording, secrets: bool) -> Vec<(String, Option<String>, Option<u32>)> {
        let exclude: Option<Arc<HeaderExclusion>> = None;
        let requests = Some(RequestRecording { headers: mode, exclude });
        let recording = Recording { requests, secrets, ..Recording::default() };
        let headers = record(&headers(), &recording);
        headers.iter().map(|header| (header.name, header.value, header.length)).collect()
    }

    #[test]
    fn as_much_is_recorded_as_is_asked_for() {
        let name = |name: &str| name.to_owned();
        assert_eq!(told(HeaderRecording::Off, true), []);
        assert_eq!(
            told(HeaderRecording::Names, true),
            [(name("X-Two"), None, None), (name("Authorization"), None, None)]
        );
        assert_eq!(
            told(HeaderRecording::Lengths, false)[1..],
            [(name("X-Two"), None, Some(5)), (name("Authorization"), None, Some(10))]
        );
        assert_eq!(
            told(HeaderRecording::Values, true)[2],
            (name("Authorization"), Some("Bearer abc".to_owned()), Some(10))
        );
    }

    #[test]
    fn secrets_are_not_recorded_unless_asked_for() {
        assert_eq!(told(HeaderRecording::Values, false)[2].1, None);
    }
}
