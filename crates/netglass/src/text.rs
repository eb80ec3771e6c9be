//! Text from outside, made safe to show on one line of a terminal.

use std::{borrow::Cow, fmt::Write as _};

/// `text` with everything escaped that could break a line, move the cursor, or make text look
/// different from what it is: control characters, line and paragraph separators, and the
/// invisible and bidirectional formatting characters of Unicode.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
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
    fn only_what_can_deceive_is_escaped() {
        assert_eq!(printable("nginx: worker"), "nginx: worker");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(printable("\u{202e}txt"), "\\u{202e}txt");
    }

    proptest! {
        #[test]
        fn nothing_printable_is_unsafe(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(is_unsafe));
        }
    }
}
