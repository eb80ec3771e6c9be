//! The vocabulary as column values, and back. What comes back is outside input: whatever is not as
//! Netglass writes it is a fault, never a guess.

use std::net::IpAddr;

use netglass_model::{Attribution, Direction, Endpoint, Port, Protocol, Timestamp};
use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::fault::Fault;
use crate::columns;
pub(super) use crate::columns::{attribution_number, count_to_column, direction_number};

/// An address as 4 or 16 bytes.
pub(super) struct AddressColumn([u8; 16], usize);

impl AddressColumn {
    pub(super) fn new(address: IpAddr) -> Self {
        let mut bytes = [0; 16];
        match address.to_canonical() {
            IpAddr::V4(address) => {
                bytes[..4].copy_from_slice(&address.octets());
                Self(bytes, 4)
            }
            IpAddr::V6(address) => Self(address.octets(), 16),
        }
    }
}

impl ToSql for AddressColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0[..self.1])))
    }
}

struct AddressValue(IpAddr);

impl FromSql for AddressValue {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
            Ok(Self(octets.into()))
        } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
            Ok(Self(octets.into()))
        } else {
            Err(FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() })
        }
    }
}

pub(super) fn address(row: &Row<'_>, column: usize) -> Result<IpAddr, Fault> {
    Ok(row.get::<_, AddressValue>(column)?.0)
}

/// An endpoint from a column with its address and the next one with its port.
pub(super) fn endpoint(row: &Row<'_>, column: usize) -> Result<Endpoint, Fault> {
    let port = row.get::<_, Option<u16>>(column + 1)?;
    Ok(Endpoint::new(address(row, column)?, Port::from(port)))
}

pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    let count = row.get::<_, i64>(column)?;
    u64::try_from(count).map_err(|_| Fault::Malformed(format!("a count is {count}")))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_nanoseconds(row.get(column)?))
}

pub(super) fn protocol(row: &Row<'_>, column: usize) -> Result<Protocol, Fault> {
    let number = row.get::<_, i64>(column)?;
    u8::try_from(number)
        .ok()
        .and_then(Protocol::from_number)
        .ok_or_else(|| Fault::Malformed(format!("a protocol is {number}")))
}

pub(super) fn direction(row: &Row<'_>, column: usize) -> Result<Direction, Fault> {
    let number = row.get(column)?;
    columns::direction(number).ok_or_else(|| Fault::Malformed(format!("a direction is {number}")))
}

pub(super) fn attribution(row: &Row<'_>, column: usize) -> Result<Attribution, Fault> {
    let number = row.get(column)?;
    columns::attribution(number)
        .ok_or_else(|| Fault::Malformed(format!("an attribution is {number}")))
}
