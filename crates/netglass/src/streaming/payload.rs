//! What was sent or received, so that it does nothing to whom it is shown.

use super::text::push_display;

/// How many bytes stand on a line.
const WIDTH: usize = 16;

/// Writes two digits for each byte.
pub(super) fn push_hexadecimal(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        push_display(out, format_args!("{byte:02x}"));
    }
}

/// Writes a character for each byte: a dot where it is none of ASCII, or one that quotes.
pub(super) fn push_characters(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|&byte| match byte {
        b'"' | b'\\' => b'.',
        b' '..=b'~' => byte,
        _ => b'.',
    }));
}

/// Writes lines with offsets, digits and characters.
pub(super) fn push_dump(out: &mut Vec<u8>, bytes: &[u8]) {
    for (index, line) in bytes.chunks(WIDTH).enumerate() {
        push_display(out, format_args!("           {:04x} ", index * WIDTH));
        for place in 0..WIDTH {
            match line.get(place) {
                Some(byte) => push_display(out, format_args!(" {byte:02x}")),
                None => out.extend_from_slice(b"   "),
            }
        }
        out.extend_from_slice(b"  ");
        push_characters(out, line);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_by_the_line() {
        let mut out = Vec::new();
        push_dump(&mut out, b"GET / HTTP/1.1\r\nHost: \x1b\"a\"");
        let expected = "           \
            0000  47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..
           0010  48 6f 73 74 3a 20 1b 22 61 22                    Host: ..a.\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
