//! Headers, as a trace has them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name, as written by convention (`Content-Type`).
    pub name: String,
    /// Its value, where values are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The length of its value in bytes, where lengths are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// Whether the value is not shown because it may be a secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// The headers of a message in their order: a list of [`Header`]s that are made as they are looked
/// at. Until then all of them are in one piece of memory, as there are many and most are never
/// looked at.
#[derive(Clone, Default)]
pub struct Headers {
    /// One after the other: [`FIXED`] bytes, the name, and what there is of the value.
    bytes: Box<[u8]>,
}

/// Flags, and three lengths: of the name, of the value, and of what there is of that.
const FIXED: usize = 1 + 2 + 4 + 4;

const HAS_VALUE: u8 = 1;
const HAS_LENGTH: u8 = 2;
const REDACTED: u8 = 4;
/// The name is in lower case, and to be shown as written by convention.
const LOWER_CASE: u8 = 8;

impl Headers {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One after the other.
    #[must_use]
    pub fn iter(&self) -> HeadersIter<'_> {
        HeadersIter { rest: &self.bytes }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Headers {}

/// A name as it is written by convention: `Content-Type`.
pub(crate) fn conventional(name: &str) -> String {
    let mut first = true;
    let shown = |letter: char| {
        let shown = if first { letter.to_ascii_uppercase() } else { letter };
        first = letter == '-';
        shown
    };
    name.chars().map(shown).collect()
}

/// Goes through [`Headers`].
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
}

impl Iterator for HeadersIter<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        let (fixed, rest) = self.rest.split_first_chunk::<FIXED>()?;
        let [flags, n0, n1, l0, l1, l2, l3, k0, k1, k2, k3] = *fixed;
        let name_length = usize::from(u16::from_ne_bytes([n0, n1]));
        let (name, rest) = rest.split_at_checked(name_length)?;
        let kept = usize::try_from(u32::from_ne_bytes([k0, k1, k2, k3])).ok()?;
        let (value, rest) = rest.split_at_checked(kept)?;
        self.rest = rest;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut name = text(name);
        if flags & LOWER_CASE != 0 {
            name = conventional(&name);
        }
        Some(Header {
            name,
            value: (flags & HAS_VALUE != 0).then(|| text(value)),
            length: (flags & HAS_LENGTH != 0).then(|| u32::from_ne_bytes([l0, l1, l2, l3])),
            redacted: flags & REDACTED != 0,
        })
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Header;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Headers that are put together.
#[derive(Debug, Default)]
pub(crate) struct HeadersWriter {
    bytes: Vec<u8>,
}

impl HeadersWriter {
    /// For so many headers, whose names and values take so many bytes together.
    pub(crate) fn with_capacity(headers: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(headers * FIXED + bytes) }
    }

    /// Adds a header by its name, which may be one in lower case, and its value. One that is longer than any
    /// of HTTP is left out.
    pub(crate) fn push(
        &mut self,
        (name, is_lower_case): (&str, bool),
        value: Option<&[u8]>,
        length: Option<u32>,
        redacted: bool,
    ) {
        let kept = value.unwrap_or_default();
        let (Ok(name_length), Ok(kept_length)) =
            (u16::try_from(name.len()), u32::try_from(kept.len()))
        else {
            return;
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(value.is_some(), HAS_VALUE)
            | flag(length.is_some(), HAS_LENGTH)
            | flag(redacted, REDACTED)
            | flag(is_lower_case, LOWER_CASE);
        let [n0, n1] = name_length.to_ne_bytes();
        let [l0, l1, l2, l3] = length.unwrap_or_default().to_ne_bytes();
        let [k0, k1, k2, k3] = kept_length.to_ne_bytes();
        self.bytes.extend_from_slice(&[flags, n0, n1, l0, l1, l2, l3, k0, k1, k2, k3]);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(kept);
    }

    pub(crate) fn finish(self) -> Headers {
        Headers { bytes: self.bytes.into_boxed_slice() }
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let mut writer = HeadersWriter::default();
        for Header { name, value, length, redacted } in headers {
            let value = value.as_deref().map(str::as_bytes);
            writer.push((&name, false), value, length, redacted);
        }
        writer.finish()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Header>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: Option<&str>, length: Option<u32>, redacted: bool) -> Header {
        Header { name: name.to_owned(), value: value.map(ToOwned::to_owned), length, redacted }
    }

    #[test]
    fn what_is_put_together_is_looked_at_and_read_back() {
        let list = [
            header("Accept", Some("*/*"), Some(3), false),
            header("X-Empty", Some(""), Some(0), false),
            header("Cookie", None, Some(40), true),
            header("Date", None, None, false),
        ];
        let headers: Headers = list.iter().cloned().collect();
        assert!(headers.iter().eq(list) && !headers.is_empty());
        let json = serde_json::to_value(&headers).unwrap();
        assert_eq!(json[2], serde_json::json!({"name": "Cookie", "length": 40, "redacted": true}));
        assert_eq!(serde_json::from_value::<Headers>(json).unwrap(), headers);
        assert_eq!(Headers::default().iter().next(), None);
    }
}
