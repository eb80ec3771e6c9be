//! What the agent tells of itself.

use crate::gob::{GobError, Value, decode_single};

/// A notification of the agent (`AgentNotify`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentNotify {
    /// What happened.
    pub kind: u64,
    /// More of it: of all but messages and unknown kinds an object of JSON.
    pub text: String,
}

impl AgentNotify {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, GobError> {
        let value = decode_single(bytes, "api.AgentNotify")?;
        Ok(Self {
            kind: value.field("Type").and_then(Value::unsigned).unwrap_or_default(),
            text: value.field("Text").and_then(Value::text).unwrap_or_default(),
        })
    }
}
