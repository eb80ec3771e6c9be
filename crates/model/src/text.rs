//! Text from outside, which may be any bytes.

use std::fmt::Write as _;

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

    proptest! {
        #[test]
        fn valid_text_is_unchanged(text in ".*") {
            prop_assert_eq!(text_from_bytes(text.as_bytes()), text);
        }
    }
}
