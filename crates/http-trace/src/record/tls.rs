//! TLS handshakes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Failure, Id};
use crate::clock::Moment;

/// Who is at the other end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsRole {
    /// The server.
    Server,
    /// The proxy.
    Proxy,
}

/// A handshake, and what it agreed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsTunnel {
    /// Its name.
    pub id: Id,
    /// The connection below it. Nothing where it is not of this trace.
    pub connection: Option<Id>,
    /// The request that it was begun for. Nothing where it is not of this trace.
    pub request: Option<Id>,
    /// Who is at the other end.
    pub role: TlsRole,
    /// When the handshake began.
    pub began_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// The name sent to the server (SNI); nothing where it is asked by its address.
    pub server_name: Option<String>,
    /// The protocols offered (ALPN), in order of preference.
    pub offered_protocols: Vec<String>,
    /// The protocol agreed on.
    pub protocol: Option<String>,
    /// The version, as `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite, by its number.
    pub cipher_suite: Option<u16>,
    /// The same by its name.
    pub cipher_suite_name: Option<String>,
    /// The group of the key exchange.
    pub group: Option<String>,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    /// The certificates that the server sent, the server's own first; also of a handshake that
    /// failed. Of a resumed one, those that are remembered.
    pub certificates: Vec<Certificate>,
    /// Which of them was found wanting.
    pub refused_certificate: Option<u32>,
    /// The alert that the other end sent.
    pub alert_received: Option<String>,
    /// The alert that we sent.
    pub alert_sent: Option<String>,
    /// Whether the server asked for a certificate of ours.
    pub client_certificate_requested: bool,
    /// The length of the response about revocation that the server sent along (OCSP), in bytes.
    pub ocsp_response: Option<u32>,
}

/// A certificate (RFC 5280).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose it is, most specific part first.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// How it is signed.
    pub signature_algorithm: String,
    /// The key's algorithm.
    pub key_algorithm: String,
    /// The key's length in bits.
    pub key_bits: Option<u32>,
    /// The SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u32,
    /// What could not be understood of it.
    pub malformed: Option<String>,
}
