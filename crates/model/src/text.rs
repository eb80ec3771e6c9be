//! Text from outside, which may be any bytes.

use std::{borrow::Cow, fmt::Write as _};

/// Text for bytes that should be UTF-8 but need not be: each byte that is not part of valid UTF-8
/// becomes `\xNN`, the rest stays as it is. Control characters stay too; a renderer that needs
/// them gone escapes them for its own format.
#[must_use]
pub fn text_from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// `text` with everything escaped that could break a line, move the cursor, or make text look
/// different from what it is: control characters, line and paragraph separators, and the
/// invisible and bidirectional formatting characters of Unicode.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "{}", character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_not_utf8_is_escaped() {
        assert_eq!(text_from_bytes(b"nginx"), "nginx");
        assert_eq!(text_from_bytes("caf\u{e9}\n".as_bytes()), "caf\u{e9}\n");
        assert_eq!(text_from_bytes(b"a\xff\xc3b"), "a\\xff\\xc3b");
    }

    #[test]
    fn only_what_can_deceive_is_escaped() {
        assert_eq!(printable("nginx: worker"), "nginx: worker");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(printable("\u{202e}txt"), "\\u{202e}txt");
    }

    proptest! {
        #[test]
        fn valid_text_is_unchanged(text in ".*") {
            prop_assert_eq!(text_from_bytes(text.as_bytes()), text);
        }

        #[test]
        fn nothing_printable_is_unsafe(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(is_unsafe));
        }
    }
}
