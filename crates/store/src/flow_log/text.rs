//! Values as text, appended to a buffer without allocating anything else.

mod address;
mod time;

use netglass_model::digits::{append_integer, append_padded, append_written, hexadecimal};
use uuid::Uuid;

use self::{
    address::append_address,
    time::{Date, append_timestamp},
};
use super::columns::Value;

/// A buffer to which text is appended.
pub(super) struct Text<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// That of the last moment.
    date: Date,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, date: Date::EPOCH }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends a value that holds no character which any format would have to escape; what may hold
    /// such, which is text from outside, is returned instead.
    #[expect(
        clippy::inline_always,
        reason = "of which kind a value is, is known where it is appended"
    )]
    #[inline(always)]
    pub(super) fn append<'v>(&mut self, value: Value<'v>) -> Option<&'v str> {
        let Self { out, date } = self;
        match value {
            Value::Text(text) => return Some(text),
            Value::Name(name) => out.extend_from_slice(name.as_bytes()),
            Value::Id(id) => append_id(id, out),
            Value::Protocol(protocol) => match protocol.name() {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => append_integer(protocol.0, out),
            },
            Value::Address(address) => append_address(address, out),
            Value::TcpFlags(flags) => {
                let (letters, count) = flags.padded_letters();
                append_padded(letters, count.into(), out);
            }
            Value::Integer(integer) => append_integer(integer, out),
            Value::Timestamp(moment) => append_timestamp(moment, date, out),
        }
        None
    }
}

/// As RFC 9562, 4 has it: 8, 4, 4, 4 and 12 digits.
#[expect(clippy::cast_possible_truncation, reason = "32 bits are wanted each time")]
fn append_id(id: Uuid, out: &mut Vec<u8>) {
    let id = id.as_u128();
    let eight = |shift: u32| hexadecimal((id >> shift) as u32);
    let (second, third) = (eight(64), eight(32));
    append_written(out, |text: &mut [u8; 36]| {
        text[..8].copy_from_slice(&eight(96));
        text[9..13].copy_from_slice(&second[..4]);
        text[14..18].copy_from_slice(&second[4..]);
        text[19..23].copy_from_slice(&third[..4]);
        text[24..28].copy_from_slice(&third[4..]);
        text[28..].copy_from_slice(&eight(0));
        (text[8], text[13], text[18], text[23]) = (b'-', b'-', b'-', b'-');
        text.len()
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow_log::{COLUMNS, fixtures};

    proptest! {
        #[test]
        fn all_but_moments_is_as_displayed(record in fixtures::any_record()) {
            for value in COLUMNS.iter().filter_map(|column| column.value(&record)) {
                let mut out = Vec::new();
                let text = Text::new(&mut out).append(value);
                if !matches!(value, Value::Text(_) | Value::Timestamp(_)) {
                    prop_assert_eq!(text, None);
                    prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
                }
            }
        }

        #[test]
        fn an_identifier_is_as_displayed(id: u128) {
            let (id, mut out) = (Uuid::from_u128(id), Vec::new());
            append_id(id, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), id.to_string());
        }
    }
}
