//! Values of any type.

use super::{
    GobError, Type, Types, Wire,
    limits::{DEPTH, VALUES},
    messages::next_message,
    types::each_field,
};

/// A value; what is not there is zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// Bytes, and what writes itself as such.
    Bytes(&'a [u8]),
    Text(&'a [u8]),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// The fields that are there, by their names.
    Struct(Vec<(String, Self)>),
    /// Of a type that no record has.
    Other,
}

impl<'a> Value<'a> {
    /// A field, if it is there.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// A text, or bytes that are one.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Uint(number) => Some(*number),
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(crate) fn signed(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Uint(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// The first value of a stream that is complete in `bytes`, which must be a struct; `wanted` is what it
/// is called where it is missing.
pub(crate) fn decode_single<'a>(
    bytes: &'a [u8],
    wanted: &'static str,
) -> Result<Value<'a>, GobError> {
    if bytes.is_empty() {
        return Err(GobError::Eof);
    }
    let mut types = Types::default();
    let mut position = 0;
    let message = next_message(bytes, &mut position, &mut types)?.ok_or(GobError::UnexpectedEof)?;
    types.fields(message.type_id, wanted)?;
    let mut body = message.body;
    let mut reader = Reader::new(&types);
    let value = reader.read(message.type_id, &mut body, 0)?;
    if !body.is_empty() {
        return Err(GobError::ExtraData);
    }
    Ok(value)
}

/// Reads values, and counts them.
pub(crate) struct Reader<'t> {
    types: &'t Types,
    values: usize,
}

impl<'t> Reader<'t> {
    pub(crate) const fn new(types: &'t Types) -> Self {
        Self { types, values: 0 }
    }

    pub(crate) fn read<'a>(
        &mut self,
        type_id: i64,
        body: &mut Wire<'a>,
        depth: usize,
    ) -> Result<Value<'a>, GobError> {
        self.values += 1;
        if depth > DEPTH || self.values > VALUES {
            return Err(GobError::TooMuch);
        }
        Ok(match self.types.get(type_id)? {
            Type::Bool => Value::Bool(body.unsigned()? != 0),
            Type::Int => Value::Int(body.signed()?),
            Type::Uint => Value::Uint(body.unsigned()?),
            Type::Float => {
                body.unsigned()?;
                Value::Other
            }
            Type::Complex => {
                body.unsigned()?;
                body.unsigned()?;
                Value::Other
            }
            Type::Bytes => Value::Bytes(body.bytes()?),
            Type::Text => Value::Text(body.bytes()?),
            Type::Slice { element } => {
                let count = body.unsigned()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.read(*element, body, depth + 1)?);
                }
                Value::List(values)
            }
            Type::Map { key, element } => {
                let count = body.unsigned()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    let key = self.read(*key, body, depth + 1)?;
                    values.push((key, self.read(*element, body, depth + 1)?));
                }
                Value::Map(values)
            }
            Type::Struct(fields) => {
                let mut values = Vec::new();
                each_field(body, |number, body| {
                    let field = fields.get(number).ok_or(GobError::FieldOutOfBounds)?;
                    let value = self.read(field.type_id, body, depth + 1)?;
                    values.push((field.name.clone(), value));
                    Ok(())
                })?;
                Value::Struct(values)
            }
        })
    }
}
