//! What a caller is told of a failure.

use crate::record::{Failure, FailureKind, Layer};

/// Why a client could not be made, or a request not be answered. None of it holds a password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error("cannot make an HTTP client: {field} {reason}")]
    InvalidSetting {
        /// Which.
        field: &'static str,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },

    /// A request failed.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
}

impl Error {
    pub(crate) fn failed(layer: Layer, kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure::new(layer, kind, message)))
    }

    /// Which part of the network failed, or of the client.
    #[must_use]
    pub fn layer(&self) -> Layer {
        match self {
            Self::InvalidSetting { .. } => Layer::Configuration,
            Self::Failed(failure) => failure.layer,
        }
    }

    /// How it failed.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::InvalidSetting { .. } => FailureKind::Invalid,
            Self::Failed(failure) => failure.kind,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}
