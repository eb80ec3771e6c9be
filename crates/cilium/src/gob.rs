//! The encoding in which Cilium's agent writes (Go's `encoding/gob`), as far as it is needed to read it.
//!
//! Nothing is assumed about the numbers of types: each stream defines its own, in any order, and fields
//! are found by name. Whoever wrote the bytes decides neither how much memory is used nor how deep it is
//! looked: see [`limits`].

mod messages;
pub(crate) mod types;
mod value;
mod wire;

use thiserror::Error;

pub(crate) use self::{
    messages::next_message,
    types::{Field, Type, Types},
    value::{Reader, Value, decode_single},
    wire::Wire,
};

/// How much of what others write is taken.
pub mod limits {
    /// Bytes in a message.
    pub const MESSAGE: usize = 16 << 20;
    /// Types that a stream defines.
    pub const TYPES: usize = 1024;
    /// Fields of all types that a stream defines.
    pub const FIELDS: usize = 16_384;
    /// Bytes of a name.
    pub const NAME: usize = 4096;
    /// How deep values are in one another.
    pub const DEPTH: usize = 64;
    /// Values in one record.
    pub const VALUES: usize = 65_536;
}

/// Why bytes are no gob, in the words of Go where it has such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GobError {
    /// There is nothing.
    #[error("EOF")]
    Eof,
    /// It ends too early.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// A number has more than eight bytes.
    #[error("gob: encoded unsigned integer out of range")]
    NumberTooLong,
    /// A message says that it is longer than is taken.
    #[error("invalid message length")]
    MessageTooLong,
    /// A message goes on behind its value.
    #[error("extra data in buffer")]
    ExtraData,
    /// A type is defined twice.
    #[error("gob: duplicate type received")]
    DuplicateType,
    /// A type is not defined.
    #[error("gob: unknown type id or corrupted data")]
    UnknownType,
    /// A struct has a field that its type has not.
    #[error("gob: bad data: field numbers out of bounds")]
    FieldOutOfBounds,
    /// There is something else where there should be a struct of this name.
    #[error("gob: type mismatch in decoder: want struct type {0}; got non-struct")]
    NotStruct(&'static str),
    /// There are more values, types or levels than are taken.
    #[error("gob: more values, types or levels than are read")]
    TooMuch,
    /// A field has another type than it should have.
    #[error("gob: wrong type for received field")]
    WrongType,
}
