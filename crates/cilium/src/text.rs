//! Numbers, addresses and strings written as text into a buffer that is used again and again.
//!
//! Nothing here allocates but the growth of that buffer.

use netglass_model::digits::append_integer;

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// Appends `text`.
pub(crate) fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends an integer in decimal.
pub(crate) fn put_number(out: &mut Vec<u8>, number: impl TryInto<i128>) {
    append_integer(number, out);
}

/// Appends an integer in lower-case hexadecimal, without prefix or padding.
pub(crate) fn put_hexadecimal(out: &mut Vec<u8>, number: u32) {
    let digits = (u32::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(nibble(number >> (digit * 4)));
    }
}

/// Appends an integer in lower-case hexadecimal with `0x` before it.
pub(crate) fn put_prefixed_hexadecimal(out: &mut Vec<u8>, number: u32) {
    put(out, "0x");
    put_hexadecimal(out, number);
}

/// Appends a byte as two hexadecimal digits.
pub(crate) fn put_byte(out: &mut Vec<u8>, byte: u8) {
    out.push(nibble(u32::from(byte) >> 4));
    out.push(nibble(u32::from(byte)));
}

/// Appends bytes as hexadecimal digits.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        put_byte(out, *byte);
    }
}

fn nibble(number: u32) -> u8 {
    HEXADECIMAL[(number & 0xf) as usize]
}

/// Appends a link-layer address.
pub(crate) fn put_mac(out: &mut Vec<u8>, address: [u8; 6]) {
    for (index, byte) in address.into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        put_byte(out, byte);
    }
}

/// Appends an IPv4 address.
pub(crate) fn put_ipv4(out: &mut Vec<u8>, address: [u8; 4]) {
    for (index, byte) in address.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        put_number(out, byte);
    }
}

/// Appends an IPv6 address as RFC 5952 says, but without the dotted form at its end.
pub(crate) fn put_ipv6(out: &mut Vec<u8>, address: [u8; 16]) {
    let mut words = [0u32; 8];
    for (word, bytes) in words.iter_mut().zip(address.as_chunks::<2>().0) {
        *word = u32::from(u16::from_be_bytes(*bytes));
    }
    let zeros = longest_zeros(&words);
    let mut index = 0;
    while index < words.len() {
        if zeros.start == index && !zeros.is_empty() {
            put(out, "::");
            index = zeros.end;
            continue;
        }
        if index > 0 && index != zeros.end {
            out.push(b':');
        }
        put_hexadecimal(out, words[index]);
        index += 1;
    }
}

/// The longest run of at least two zeros, the first of several; empty at the end if there is none.
fn longest_zeros(words: &[u32; 8]) -> std::ops::Range<usize> {
    let mut best = 8..8;
    let mut start = 0;
    while start < words.len() {
        let length = words[start..].iter().take_while(|word| **word == 0).count();
        if length >= 2 && length > best.len() {
            best = start..start + length;
        }
        start += length + 1;
    }
    // Where there is no run, no word is the first one after it.
    if best.is_empty() { 9..9 } else { best }
}

/// The IPv4 address that an IPv6 address stands for (RFC 4291, 2.5.5.2), if it does.
pub(crate) fn mapped_ipv4(address: [u8; 16]) -> Option<[u8; 4]> {
    let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = address else { return None };
    Some([a, b, c, d])
}

/// Appends what `write` appends as a string of JSON.
pub(crate) fn put_json(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let start = out.len();
    write(out);
    if out[start..].iter().any(|byte| needs_escape(*byte)) {
        let length = out.len() - start;
        // Nearly all that is escaped is short, and then nothing is allocated for it.
        let mut short = [0; 256];
        if let Some(raw) = short.get_mut(..length) {
            raw.copy_from_slice(&out[start..]);
            out.truncate(start);
            escape(out, raw);
        } else {
            let raw = out.split_off(start);
            escape(out, &raw);
        }
    }
    out.push(b'"');
}

/// Appends a string of JSON.
pub(crate) fn put_json_text(out: &mut Vec<u8>, text: &str) {
    put_json(out, |out| put(out, text));
}

const fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0x7f..)
}

/// As the encoder of the original does: what HTML gives a meaning is escaped, and bytes that are no
/// UTF-8 become U+FFFD.
fn escape(out: &mut Vec<u8>, raw: &[u8]) {
    for chunk in raw.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => put(out, "\\\""),
                '\\' => put(out, "\\\\"),
                '\n' => put(out, "\\n"),
                '\r' => put(out, "\\r"),
                '\t' => put(out, "\\t"),
                '\u{8}' => put(out, "\\b"),
                '\u{c}' => put(out, "\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    put(out, "\\u");
                    let number = u32::from(character);
                    for digit in (0..4).rev() {
                        out.push(nibble(number >> (digit * 4)));
                    }
                }
                _ => put(out, character.encode_utf8(&mut [0; 4])),
            }
        }
        for _ in chunk.invalid() {
            put(out, "\\ufffd");
        }
    }
}

/// Appends a string quoted as Go's `%q` does it.
pub(crate) fn put_quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let start = out.len();
    write(out);
    let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    if !out[start..].iter().all(is_plain) {
        let raw = out.split_off(start);
        for chunk in raw.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' => put(out, "\\\""),
                    '\\' => put(out, "\\\\"),
                    '\n' => put(out, "\\n"),
                    '\r' => put(out, "\\r"),
                    '\t' => put(out, "\\t"),
                    '\0'..='\u{1f}' | '\u{7f}' => {
                        put(out, "\\x");
                        put_bytes(out, character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    _ => put(out, character.encode_utf8(&mut [0; 4])),
                }
            }
            for byte in chunk.invalid() {
                put(out, "\\x");
                put_byte(out, *byte);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn ipv6(address: &str) -> String {
        text(|out| put_ipv6(out, address.parse::<Ipv6Addr>().unwrap().octets()))
    }

    #[test]
    fn ipv6_addresses_have_the_longest_run_of_zeros_cut() {
        for address in
            ["::", "::1", "1::", "f00d::a0f:0:0:1ce", "2001:db8:0:1:1:1:1:1", "1:0:0:2::3"]
        {
            assert_eq!(ipv6(address), address);
        }
        assert_eq!(ipv6("::10.1.2.3"), "::a01:203");
        assert_eq!(ipv6("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
        assert_eq!(ipv6("0:1:2:3:4:5:6:7"), "0:1:2:3:4:5:6:7");
    }

    #[test]
    fn hexadecimal_numbers_have_no_padding() {
        for (number, expected) in
            [(0, "0x0"), (0xf, "0xf"), (0x10, "0x10"), (u32::MAX, "0xffffffff")]
        {
            assert_eq!(text(|out| put_prefixed_hexadecimal(out, number)), expected);
        }
    }

    #[test]
    fn what_html_gives_a_meaning_is_escaped_in_json() {
        assert_eq!(
            text(|out| put_json_text(out, "-> a\t<&>\"")),
            r#""-\u003e a\t\u003c\u0026\u003e\"""#
        );
        assert_eq!(
            text(|out| put_json(out, |out| out.extend(b"a\xff\xfeb"))),
            r#""a\ufffd\ufffdb""#
        );
    }

    #[test]
    fn quoting_leaves_what_can_be_printed() {
        assert_eq!(
            text(|out| put_quoted(out, |out| put(out, "a>b\"é\n\u{1}"))),
            r#""a>b\"é\n\x01""#
        );
    }

    proptest! {
        #[test]
        fn ipv6_addresses_are_read_again(words: [u16; 8], zeros: [bool; 8]) {
            let mut words = words;
            for (word, zero) in words.iter_mut().zip(zeros) {
                *word = if zero { 0 } else { *word };
            }
            let address = Ipv6Addr::from(words);
            let shown = text(|out| put_ipv6(out, address.octets()));
            prop_assert_eq!(shown.parse::<Ipv6Addr>().unwrap(), address);
            if address.to_ipv4().is_none() {
                prop_assert_eq!(shown, address.to_string());
            }
        }

        #[test]
        fn json_strings_are_read_again(value: String) {
            let shown = text(|out| put_json_text(out, &value));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
        }
    }
}
