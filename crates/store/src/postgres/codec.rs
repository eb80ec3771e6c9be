//! The vocabulary as column values, and back. What comes back is outside input: whatever is not as
//! Netglass writes it is a fault, never a guess.

use std::{borrow::Cow, error::Error, net::IpAddr};

use bytes::{BufMut as _, BytesMut};
use netglass_model::{Attribution, Direction, Endpoint, NamespaceInode, Port, Protocol, Timestamp};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked},
};

use super::fault::Fault;
use crate::columns;

/// From the Unix epoch to that of the server, 2000-01-01, in microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// What a stream for `COPY … (FORMAT binary)` begins with: the signature, no flags, and no extension.
pub(super) const COPY_SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A moment as the server keeps it: in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    /// The last one that is not later than `time`.
    pub(super) fn floor(time: Timestamp) -> Self {
        Self(time.as_nanoseconds().div_euclid(1000))
    }

    /// The first one that is not earlier than `time`.
    pub(super) fn ceil(time: Timestamp) -> Self {
        Self(time.as_nanoseconds().div_euclid(1000) + i64::from(time.as_nanoseconds() % 1000 != 0))
    }

    /// So many microseconds later.
    pub(super) fn plus(self, microseconds: i64) -> Self {
        Self(self.0.saturating_add(microseconds))
    }

    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp::from_nanoseconds(self.0.saturating_mul(1000))
    }

    /// As it is sent.
    pub(super) fn wire(self) -> i64 {
        self.0 - EPOCH
    }
}

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.wire());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'r> FromSql<'r> for Moment {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let wire = i64::from_be_bytes(raw.try_into()?);
        // Infinity does not fit, and none of ours is.
        Ok(Self(wire.checked_add(EPOCH).ok_or("a time is out of range")?))
    }

    accepts!(TIMESTAMPTZ);
}

/// What stands for a NUL character, and for itself, before the character that says which.
const ESCAPE: char = '\u{e000}';

/// Text as the server takes it: it knows no NUL character.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        match c {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, ESCAPE]),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn unescaped(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        unescaped.push(match c {
            ESCAPE if characters.next() == Some('0') => '\0',
            c => c,
        });
    }
    unescaped
}

pub(super) fn text(row: &Row, column: usize) -> Result<String, Fault> {
    Ok(unescaped(row.try_get(column)?))
}

pub(super) fn maybe_text(row: &Row, column: usize) -> Result<Option<String>, Fault> {
    Ok(row.try_get::<_, Option<_>>(column)?.map(unescaped))
}

pub(super) fn timestamp(row: &Row, column: usize) -> Result<Timestamp, Fault> {
    Ok(row.try_get::<_, Moment>(column)?.timestamp())
}

pub(super) fn inode(row: &Row, column: usize) -> Result<NamespaceInode, Fault> {
    Ok(NamespaceInode(row.try_get::<_, i64>(column)?.cast_unsigned()))
}

pub(super) fn count(row: &Row, column: usize) -> Result<u64, Fault> {
    let count = row.try_get::<_, i64>(column)?;
    u64::try_from(count).map_err(|_| Fault::Malformed(format!("a count is {count}")))
}

/// A number of 32 bits without sign, which the server has no type for.
pub(super) fn number(row: &Row, column: usize) -> Result<u32, Fault> {
    maybe_number(row, column)?.ok_or_else(|| Fault::Malformed("a number is missing".to_owned()))
}

pub(super) fn maybe_number(row: &Row, column: usize) -> Result<Option<u32>, Fault> {
    let number = row.try_get::<_, Option<i64>>(column)?;
    let checked = |number| u32::try_from(number);
    number
        .map(checked)
        .transpose()
        .map_err(|_| Fault::Malformed(format!("a number is {}", number.unwrap_or_default())))
}

pub(super) fn address(row: &Row, column: usize) -> Result<IpAddr, Fault> {
    Ok(row.try_get(column)?)
}

/// An endpoint from a column with its address and the next one with its port.
pub(super) fn endpoint(row: &Row, column: usize) -> Result<Endpoint, Fault> {
    let port = row.try_get::<_, Option<i32>>(column + 1)?;
    let port = port.map(u16::try_from).transpose();
    let port = port.map_err(|_| Fault::Malformed("a port is out of range".to_owned()))?;
    Ok(Endpoint::new(address(row, column)?, Port::from(port)))
}

pub(super) fn port(endpoint: Endpoint) -> Option<i32> {
    endpoint.port.number().map(i32::from)
}

pub(super) fn protocol(row: &Row, column: usize) -> Result<Protocol, Fault> {
    let number = row.try_get::<_, i16>(column)?;
    u8::try_from(number)
        .ok()
        .and_then(Protocol::from_number)
        .ok_or_else(|| Fault::Malformed(format!("a protocol is {number}")))
}

pub(super) fn direction(row: &Row, column: usize) -> Result<Direction, Fault> {
    let number = row.try_get::<_, i16>(column)?;
    columns::direction(number.into())
        .ok_or_else(|| Fault::Malformed(format!("a direction is {number}")))
}

pub(super) fn attribution(row: &Row, column: usize) -> Result<Attribution, Fault> {
    let number = row.try_get::<_, i16>(column)?;
    columns::attribution(number.into())
        .ok_or_else(|| Fault::Malformed(format!("an attribution is {number}")))
}

/// A number that says which of a few it is.
pub(super) fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_comes_back(text in "[a\u{0}\u{e000}0]{0,12}") {
            let kept = escaped(&text).into_owned();
            prop_assert!(!kept.contains('\0'));
            prop_assert_eq!(unescaped(kept), text);
        }

        #[test]
        fn a_moment_holds_a_time_to_the_microsecond(nanoseconds in any::<i64>()) {
            let time = Timestamp::from_nanoseconds(nanoseconds);
            let (floor, ceil) = (Moment::floor(time), Moment::ceil(time));
            prop_assert!(floor.timestamp() <= time && time <= ceil.timestamp());
            prop_assert!(ceil.0 - floor.0 <= 1);
        }
    }
}
