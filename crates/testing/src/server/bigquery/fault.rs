//! How calls fail on demand.

use std::time::Duration;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BigQueryCall {
    /// A token.
    Token,
    /// `tables.get`.
    GetTable,
    /// `tables.insert`.
    InsertTable,
    /// `tables.patch`.
    PatchTable,
    /// `tabledata.insertAll`.
    InsertAll,
    /// `CreateWriteStream`.
    CreateWriteStream,
    /// One request of a call of `AppendRows`.
    AppendRows,
    /// `GetWriteStream`.
    GetWriteStream,
    /// `FinalizeWriteStream`.
    FinalizeWriteStream,
    /// `BatchCommitWriteStreams`.
    BatchCommitWriteStreams,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BigQueryFault {
    /// The token is not accepted: 401, `UNAUTHENTICATED`.
    Unauthenticated,
    /// The account may not do it: 403 `accessDenied`, `PERMISSION_DENIED`.
    Denied,
    /// Too much was asked for: 403 `rateLimitExceeded`, `RESOURCE_EXHAUSTED`.
    RateLimited,
    /// The same as 429.
    TooMany,
    /// 503, `UNAVAILABLE`, and nothing was done.
    Unavailable,
    /// 503, `UNAVAILABLE`, although it was done.
    UnavailableAfter,
    /// The answer takes so long.
    Slow(Duration),
    /// The connection is cut, and nothing was done.
    CutBefore,
    /// The connection is cut, although it was done.
    CutAfter,
    /// The stream has been finalized: nothing is appended.
    Finalized,
    /// Rows are appended, the stream is finalized, and the connection is cut.
    FinalizedAfter,
    /// The stream is not known any more: nothing is appended.
    StreamForgotten,
    /// Every second row is not taken (`backendError`): insertAll only.
    Partial,
    /// No row is taken, each because of others (`stopped`): insertAll only.
    Stopped,
}

impl BigQueryFault {
    /// Whether what was asked for is done all the same.
    pub(super) fn is_after(self) -> bool {
        matches!(
            self,
            Self::UnavailableAfter | Self::Slow(_) | Self::CutAfter | Self::FinalizedAfter
        )
    }

    /// Whether the connection is cut.
    pub(super) fn is_cut(self) -> bool {
        matches!(self, Self::CutBefore | Self::CutAfter | Self::FinalizedAfter)
    }
}
