//! Why there is no QUIC connection, or no more, in the words of a trace.

use std::net::SocketAddr;

use quinn::{ConnectError, ConnectionError};

use super::socket::Complaint;
use crate::{
    connector::attempt,
    record::{Failure, FailureKind, Layer},
    tls::quic::QuicTunnel,
};

/// The code with which a server takes no connection (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 0x2;
/// Codes that are alerts of TLS.
const ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

fn failure(address: SocketAddr, kind: FailureKind, why: &str) -> Failure {
    let message = format!("cannot connect to {address} over QUIC: {why}");
    Failure::new(Layer::Connect, kind, message)
}

pub(super) fn before_handshake(
    address: SocketAddr,
    error: &ConnectError,
    tunnel: &QuicTunnel,
) -> Failure {
    tunnel.failure().unwrap_or_else(|| failure(address, FailureKind::Invalid, &error.to_string()))
}

pub(super) fn complained(address: SocketAddr, complaint: Complaint) -> Failure {
    let kind = attempt::kind(&complaint.error);
    let mut failure = failure(address, kind, &complaint.error.to_string());
    failure.cause = complaint.cause.map(Box::new);
    failure
}

pub(super) fn in_handshake(
    address: SocketAddr,
    error: &ConnectionError,
    tunnel: &QuicTunnel,
) -> Failure {
    if let Some(failure) = tunnel.failure() {
        return failure;
    }
    let failure = |kind, why: &str| failure(address, kind, why);
    match error {
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            if ALERTS.contains(&code)
                && let Ok(alert) = u8::try_from(code & 0xff)
            {
                return tunnel.alerted(alert);
            }
            let kind =
                if code == CONNECTION_REFUSED { FailureKind::Refused } else { FailureKind::Closed };
            failure(kind, &format!("it ended the handshake: {close}"))
        }
        ConnectionError::VersionMismatch => {
            failure(FailureKind::Protocol, "it speaks no version of QUIC that we speak")
        }
        ConnectionError::TimedOut => failure(FailureKind::Timeout, "it does not answer in time"),
        other => {
            let (kind, why) = after_handshake(other);
            failure(kind, &why)
        }
    }
}

/// What kind of failure the end of a connection is, and in words.
pub(crate) fn after_handshake(error: &ConnectionError) -> (FailureKind, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = h3::error::Code::from(close.error_code.into_inner());
            let reason = String::from_utf8_lossy(&close.reason);
            let separator = if reason.is_empty() { "" } else { ": " };
            let why = format!("the server closed the connection with {code}{separator}{reason}");
            (FailureKind::Closed, why)
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            match u8::try_from(code & 0xff) {
                Ok(alert) if ALERTS.contains(&code) => {
                    let alert = crate::tls::quic::alert(alert);
                    (FailureKind::Alert, format!("the other end sent the TLS alert {alert}"))
                }
                _ => (FailureKind::Closed, format!("the server closed the connection: {close}")),
            }
        }
        ConnectionError::TransportError(error) => {
            (FailureKind::Protocol, format!("it does not keep to QUIC: {error}"))
        }
        ConnectionError::Reset => {
            (FailureKind::Reset, "the server does not know the connection any more".to_owned())
        }
        ConnectionError::TimedOut => {
            (FailureKind::Timeout, "nothing came from the server for too long".to_owned())
        }
        ConnectionError::LocallyClosed => {
            (FailureKind::Closed, "the connection was closed".to_owned())
        }
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
            (FailureKind::Protocol, error.to_string())
        }
    }
}
