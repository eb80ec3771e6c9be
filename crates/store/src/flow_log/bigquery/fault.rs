//! Why something failed, before it is known for whom.

use crate::flow_log::SinkError;

/// Why something failed. None of it holds a key or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection could not be made, or broke: what was asked for may have been done.
    Lost(String),
    /// There was no answer in time: what was asked for may have been done.
    Silent,
    /// The server asks for patience; it did nothing.
    Busy(String),
    /// The token is not accepted (any more).
    Unauthenticated(String),
    /// The account may not do this.
    Denied(String),
    /// There is no such dataset, table or stream.
    Missing(String),
    /// It is there already, or was changed meanwhile.
    Conflict(String),
    /// More at once than the server takes.
    TooLarge(String),
    /// The request is not understood.
    Invalid(String),
    /// Something that the user has to set right.
    Setup(String),
}

impl Fault {
    /// With `action` and `target` of it for the user.
    pub(super) fn into_error(self, action: &'static str, target: &str) -> SinkError {
        let target = target.to_owned();
        let away = |reason| SinkError::Away { action, target: target.clone(), reason };
        let refused = |reason| SinkError::Refused { action, target: target.clone(), reason };
        match self {
            Self::Lost(reason) => away(format!(
                "the connection failed: {reason}; check the network, proxies and --bq-endpoint"
            )),
            Self::Silent => away(
                "there was no answer in time; check the network, proxies and --bq-endpoint"
                    .to_owned(),
            ),
            Self::Busy(reason) => away(format!(
                "BigQuery asks for patience: {reason}; if that lasts, see the project's quotas"
            )),
            Self::Conflict(reason) => {
                away(format!("somebody else changed it meanwhile: {reason}; it is tried again"))
            }
            Self::Unauthenticated(reason) => refused(format!(
                "the credentials are not accepted: {reason}; check the key, and the clock of this \
                 host"
            )),
            Self::Denied(reason) => refused(format!(
                "the account may not do this: {reason}; grant it roles/bigquery.dataEditor on the \
                 dataset"
            )),
            Self::Missing(reason) => refused(format!(
                "it is not there: {reason}; check project and dataset, or make the dataset with \
                 `bq mk --dataset PROJECT:DATASET`"
            )),
            Self::TooLarge(reason) | Self::Invalid(reason) => {
                refused(format!("BigQuery does not understand it: {reason}"))
            }
            Self::Setup(reason) => refused(reason),
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Silent)
    }
}
