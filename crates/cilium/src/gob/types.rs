//! The types that a stream defines.

use std::collections::HashMap;

use super::{GobError, Wire, limits};

const BOOL: i64 = 1;
const INT: i64 = 2;
const UINT: i64 = 3;
const FLOAT: i64 = 4;
const BYTES: i64 = 5;
const STRING: i64 = 6;
const COMPLEX: i64 = 7;

/// How values of a type are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Uint,
    /// Also of 32 bits.
    Float,
    /// Also what writes itself as bytes or text.
    Bytes,
    Text,
    /// Two floats.
    Complex,
    Slice {
        element: i64,
    },
    Map {
        key: i64,
        element: i64,
    },
    Struct(Vec<Field>),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) type_id: i64,
}

/// The types that a stream has defined.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    defined: HashMap<i64, Type>,
    fields: usize,
}

impl Types {
    /// The type of this number.
    pub(crate) fn get(&self, type_id: i64) -> Result<&Type, GobError> {
        Ok(match type_id {
            BOOL => &Type::Bool,
            INT => &Type::Int,
            UINT => &Type::Uint,
            FLOAT => &Type::Float,
            BYTES => &Type::Bytes,
            STRING => &Type::Text,
            COMPLEX => &Type::Complex,
            _ => return self.defined.get(&type_id).ok_or(GobError::UnknownType),
        })
    }

    /// The fields of the struct of this number, if it is one; else `wanted` is missing.
    pub(crate) fn fields(&self, type_id: i64, wanted: &'static str) -> Result<&[Field], GobError> {
        match self.get(type_id)? {
            Type::Struct(fields) => Ok(fields),
            _ => Err(GobError::NotStruct(wanted)),
        }
    }

    /// Learns a type.
    pub(super) fn define(&mut self, type_id: i64, body: &mut Wire<'_>) -> Result<(), GobError> {
        if self.defined.len() >= limits::TYPES {
            return Err(GobError::TooMuch);
        }
        let definition = self.read_definition(body)?.ok_or(GobError::UnknownType)?;
        if self.get(type_id).is_ok() {
            return Err(GobError::DuplicateType);
        }
        self.defined.insert(type_id, definition);
        Ok(())
    }

    /// A `wireType`: a struct of which one field is set.
    fn read_definition(&mut self, body: &mut Wire<'_>) -> Result<Option<Type>, GobError> {
        let mut definition = None;
        each_field(body, |field, body| {
            let mut element = 0;
            let mut key = 0;
            let mut fields = Vec::new();
            each_field(body, |inner, body| {
                match (field, inner) {
                    (_, 0) => return skip_common(body),
                    (0 | 1, 1) | (3, 2) => element = body.signed()?,
                    (3, 1) => key = body.signed()?,
                    // How long an array is stands before its elements, too.
                    (0, 2) => {
                        body.signed()?;
                    }
                    (2, 1) => fields = self.read_fields(body)?,
                    _ => return Err(GobError::FieldOutOfBounds),
                }
                Ok(())
            })?;
            definition = Some(match field {
                0 | 1 => Type::Slice { element },
                2 => Type::Struct(fields),
                3 => Type::Map { key, element },
                4..=6 => Type::Bytes,
                _ => return Err(GobError::FieldOutOfBounds),
            });
            Ok(())
        })?;
        Ok(definition)
    }

    fn read_fields(&mut self, body: &mut Wire<'_>) -> Result<Vec<Field>, GobError> {
        let count = body.unsigned()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            self.fields += 1;
            if self.fields > limits::FIELDS {
                return Err(GobError::TooMuch);
            }
            let mut field = Field { name: String::new(), type_id: 0 };
            each_field(body, |inner, body| {
                match inner {
                    0 => field.name = name(body.bytes()?)?,
                    1 => field.type_id = body.signed()?,
                    _ => return Err(GobError::FieldOutOfBounds),
                }
                Ok(())
            })?;
            fields.push(field);
        }
        Ok(fields)
    }
}

/// The `CommonType` that each definition begins with: a name and a number.
fn skip_common(body: &mut Wire<'_>) -> Result<(), GobError> {
    each_field(body, |field, body| {
        match field {
            0 => drop(body.bytes()?),
            1 => drop(body.signed()?),
            _ => return Err(GobError::FieldOutOfBounds),
        }
        Ok(())
    })
}

fn name(bytes: &[u8]) -> Result<String, GobError> {
    if bytes.len() > limits::NAME {
        return Err(GobError::TooMuch);
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Calls `read` with the number of each field of a struct that is there.
pub(crate) fn each_field<'a>(
    body: &mut Wire<'a>,
    mut read: impl FnMut(usize, &mut Wire<'a>) -> Result<(), GobError>,
) -> Result<(), GobError> {
    let mut behind = 0usize;
    loop {
        let delta = usize::try_from(body.unsigned()?).map_err(|_| GobError::FieldOutOfBounds)?;
        if delta == 0 {
            return Ok(());
        }
        behind = behind.checked_add(delta).ok_or(GobError::FieldOutOfBounds)?;
        read(behind - 1, body)?;
    }
}
