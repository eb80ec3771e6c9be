//! Bytes as a table: their place, themselves, and what of them can be printed.

use crate::text::{put, put_byte, put_bytes};

const WIDTH: usize = 16;

/// Appends the table.
pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for (number, line) in bytes.chunks(WIDTH).enumerate() {
        let place = u32::try_from(number * WIDTH).unwrap_or(u32::MAX);
        put_bytes(out, &place.to_be_bytes());
        put(out, "  ");
        for column in 0..WIDTH {
            match line.get(column) {
                Some(byte) => put_byte(out, *byte),
                None => put(out, "  "),
            }
            put(out, if column == 7 || column == WIDTH - 1 { "  " } else { " " });
        }
        out.push(b'|');
        out.extend(line.iter().map(|byte| if matches!(byte, 32..=126) { *byte } else { b'.' }));
        put(out, "|\n");
    }
}
