//! Messages of a stream: definitions of types, and values.

use super::{GobError, Types, Wire, limits};

/// A message with a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Where it begins.
    pub(crate) start: usize,
    /// The type of the value.
    pub(crate) type_id: i64,
    /// The value.
    pub(crate) body: Wire<'a>,
}

/// The next message with a value in `bytes`, from `position` on, which is moved behind it. Types that
/// are defined before it are learned. `None` if the bytes end before that: nothing that was learned is
/// lost, and more can be appended. On an error, `position` is where what is not understood begins.
pub(crate) fn next_message<'a>(
    bytes: &'a [u8],
    position: &mut usize,
    types: &mut Types,
) -> Result<Option<Message<'a>>, GobError> {
    loop {
        let start = *position;
        let mut rest = Wire(bytes.get(start..).unwrap_or_default());
        let length = match rest.unsigned() {
            Ok(length) => length,
            Err(GobError::UnexpectedEof) => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limits::MESSAGE {
            return Err(GobError::MessageTooLong);
        }
        let Some((message, behind)) = rest.0.split_at_checked(length) else { return Ok(None) };
        let end = bytes.len() - behind.len();
        let mut body = Wire(message);
        // An empty message is nothing; Go goes on with the next one.
        if !body.is_empty() {
            let type_id = body.signed()?;
            if type_id >= 0 {
                *position = end;
                return Ok(Some(Message { start, type_id, body }));
            }
            types.define(type_id.checked_neg().ok_or(GobError::UnknownType)?, &mut body)?;
            if !body.is_empty() {
                return Err(GobError::ExtraData);
            }
        }
        *position = end;
    }
}
