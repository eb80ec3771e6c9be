//! Errors of HTTP/3, in the words of a trace.

use h3::error::{ConnectionError, LocalError, StreamError};

use super::frames::TooLong;
use crate::{quic::after_handshake, record::FailureKind};

/// What kind of failure an error of a stream is, and in words.
pub(super) fn of_stream(
    error: &StreamError,
    connection: &quinn::Connection,
) -> (FailureKind, String) {
    match error {
        StreamError::RemoteTerminate { code, .. } => {
            (FailureKind::Reset, format!("the server reset the stream: {code}"))
        }
        StreamError::StreamError { code, reason, .. } => {
            super::protocol(format!("{reason} ({code})"))
        }
        StreamError::HeaderTooBig { actual_size, max_size, .. } => {
            let why =
                format!("its headers have {actual_size} bytes, and {max_size} are the most taken");
            (FailureKind::TooLarge, why)
        }
        StreamError::RemoteClosing { .. } => {
            let why = "the server ends the connection, and takes no further requests";
            (FailureKind::Closed, why.to_owned())
        }
        StreamError::ConnectionError { 0: error, .. } => of_connection(error, connection),
        StreamError::Undefined { 0: error, .. } => {
            if let Some(too_long) = error.downcast_ref::<TooLong>() {
                return (FailureKind::TooLarge, too_long.to_string());
            }
            if error.is::<super::adapter::Truncated>() {
                return (FailureKind::Closed, error.to_string());
            }
            (FailureKind::Other, error.to_string())
        }
        _ => (FailureKind::Other, error.to_string()),
    }
}

/// The same of an error of the connection as a whole.
pub(super) fn of_connection(
    error: &ConnectionError,
    connection: &quinn::Connection,
) -> (FailureKind, String) {
    match (error, connection.close_reason()) {
        (ConnectionError::Local { error: LocalError::Application { code, reason, .. }, .. }, _)
            if *code != h3::error::Code::H3_NO_ERROR =>
        {
            super::protocol(format!("{reason} ({code})"))
        }
        (_, Some(reason)) => after_handshake(&reason),
        (error, None) => (FailureKind::Closed, error.to_string()),
    }
}

/// Whether a stream is gone because the server did not look at early data.
pub(super) fn is_early_data_rejected(error: &StreamError) -> bool {
    let StreamError::Undefined { 0: error, .. } = error else { return false };
    matches!(error.downcast_ref(), Some(quinn::ReadError::ZeroRttRejected))
        || matches!(error.downcast_ref(), Some(quinn::WriteError::ZeroRttRejected))
}
