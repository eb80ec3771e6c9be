//! Errors of HTTP, in the words of a trace.

use std::{error::Error as StdError, io};

use crate::record::FailureKind;

/// What ended the stream of one request, and not its connection (RFC 9113, section 5.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The server says that it did nothing of the request (section 8.7).
    Refused,
    Reset,
}

/// Whether it was a stream of HTTP/2 alone that ended.
pub(super) fn stream_end(error: &hyper::Error) -> Option<StreamEnd> {
    let first = error.source();
    let http2 = std::iter::successors(first, |&error| error.source())
        .find_map(|error| error.downcast_ref::<h2::Error>())
        .filter(|error| error.is_reset())?;
    let refused = http2.is_remote() && http2.reason() == Some(h2::Reason::REFUSED_STREAM);
    Some(if refused { StreamEnd::Refused } else { StreamEnd::Reset })
}

/// What kind of failure an error of HTTP is, and in words.
pub(crate) fn cause(error: &hyper::Error) -> (FailureKind, String) {
    if let Some(alert) = crate::tls::alert_of(error) {
        return alert;
    }
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(source) = next {
        if let Some(http2) = source.downcast_ref::<h2::Error>() {
            if let Some(error) = http2.get_io() {
                return (crate::connector::attempt::kind(error), error.to_string());
            }
            let who = if http2.is_remote() { "the server" } else { "the client" };
            let what = match (http2.is_reset(), http2.is_go_away()) {
                (true, _) => "reset the stream",
                (_, true) => "ended the connection",
                _ => "failed",
            };
            let code = http2.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            let kind = if http2.is_reset() || http2.is_go_away() {
                FailureKind::Reset
            } else {
                FailureKind::Protocol
            };
            return (kind, format!("{who} {what}{code}"));
        }
        if let Some(error) = source.downcast_ref::<io::Error>() {
            return (crate::connector::attempt::kind(error), error.to_string());
        }
        next = source.source();
    }
    if error.is_incomplete_message() {
        return (
            FailureKind::Closed,
            "the connection was closed before all of it had come".to_owned(),
        );
    }
    if error.is_parse() {
        return (FailureKind::Protocol, format!("it is no HTTP: {error}"));
    }
    if error.is_canceled() || error.is_closed() {
        return (FailureKind::Closed, "the connection was closed".to_owned());
    }
    (FailureKind::Other, error.to_string())
}
