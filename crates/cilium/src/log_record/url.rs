//! URLs in their parts, as Go takes them apart.

/// A URL in its parts (RFC 3986).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// `http`.
    pub scheme: String,
    /// What is behind a scheme that no slash follows.
    pub opaque: String,
    /// Whether there is a user, whose name and password are not told.
    pub has_user: bool,
    /// Host and port.
    pub host: String,
    /// The path, decoded.
    pub path: String,
    /// The path as it was written, where it would be written in another way.
    pub raw_path: String,
    /// Whether a scheme and a path have no host between them.
    pub omits_host: bool,
    /// Whether a question mark has no query behind it.
    pub forces_query: bool,
    /// The query, as it was written.
    pub raw_query: String,
    /// The fragment, decoded.
    pub fragment: String,
    /// The fragment as it was written, where it would be written in another way.
    pub raw_fragment: String,
}

impl Url {
    /// Takes a URL apart. What is no URL is opaque as a whole.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::try_parse(text).unwrap_or_else(|| Self { opaque: text.to_owned(), ..Self::default() })
    }

    fn try_parse(text: &str) -> Option<Self> {
        let mut url = Self::default();
        let mut rest = text;
        if let Some((before, fragment)) = text.split_once('#') {
            rest = before;
            url.fragment = unescape(fragment)?;
            if escape(&url.fragment, is_plain_in_fragment) != fragment {
                fragment.clone_into(&mut url.raw_fragment);
            }
        }
        if rest == "*" {
            "*".clone_into(&mut url.path);
            return Some(url);
        }
        (url.scheme, rest) = split_scheme(rest)?;
        if rest.ends_with('?') && rest.matches('?').count() == 1 {
            url.forces_query = true;
            rest = rest.strip_suffix('?').unwrap_or(rest);
        } else if let Some((before, query)) = rest.split_once('?') {
            rest = before;
            query.clone_into(&mut url.raw_query);
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Some(url);
            }
            // A colon before the first slash would be that of a scheme.
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return None;
            }
        }
        let has_host =
            (!url.scheme.is_empty() || !rest.starts_with("///")) && rest.starts_with("//");
        if has_host {
            let behind = rest.strip_prefix("//").unwrap_or(rest);
            let end = behind.find('/').unwrap_or(behind.len());
            let (authority, path) = behind.split_at(end);
            rest = path;
            let host = match authority.rsplit_once('@') {
                Some((_, host)) => {
                    url.has_user = true;
                    host
                }
                None => authority,
            };
            url.host = unescape(host)?;
        } else if !url.scheme.is_empty() && rest.starts_with('/') {
            url.omits_host = true;
        }
        url.path = unescape(rest)?;
        if escape(&url.path, is_plain_in_path) != rest {
            rest.clone_into(&mut url.raw_path);
        }
        Some(url)
    }
}

/// The scheme, in lower case, and what is behind it.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    for (index, character) in text.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return None,
            ':' => {
                let (scheme, rest) = text.split_at(index);
                return Some((scheme.to_ascii_lowercase(), rest.strip_prefix(':')?));
            }
            _ => break,
        }
    }
    Some((String::new(), text))
}

fn unescape(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            [b'%', high, low, behind @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
                behind
            }
            [b'%', ..] => return None,
            [byte, behind @ ..] => {
                bytes.push(*byte);
                behind
            }
        };
    }
}

fn escape(text: &str, is_plain: fn(u8) -> bool) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in text.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

const fn is_plain_in_path(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'$' | b'&' | b'+' | b',' | b'/' | b':' | b'=' | b'@' | b';')
}

const fn is_plain_in_fragment(byte: u8) -> bool {
    is_plain_in_path(byte) || matches!(byte, b'?' | b'!' | b'(' | b')' | b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("http://user:pw@h:8080/a%20b/c?x=1&y=a%20b#frag");
        let expected = Url {
            scheme: "http".to_owned(),
            has_user: true,
            host: "h:8080".to_owned(),
            path: "/a b/c".to_owned(),
            raw_query: "x=1&y=a%20b".to_owned(),
            fragment: "frag".to_owned(),
            ..Url::default()
        };
        assert_eq!(url, expected);
    }

    #[test]
    fn what_would_be_written_in_another_way_is_kept() {
        let url = Url::parse("HTTPS://h/a%2Fb?");
        assert_eq!((url.scheme.as_str(), url.forces_query), ("https", true));
        assert_eq!((url.path.as_str(), url.raw_path.as_str()), ("/a/b", "/a%2Fb"));
        assert_eq!(Url::parse("mailto:a@b").opaque, "a@b");
        assert!(Url::parse("file:/x").omits_host);
        assert_eq!(Url::parse("/x?y").raw_query, "y");
        assert_eq!(Url::parse("%zz").opaque, "%zz");
    }
}
