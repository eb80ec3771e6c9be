//! Why something failed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which part of the network, or of the client, a failure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layer {
    /// The request or the client's settings.
    Configuration,
    /// Names and addresses.
    Dns,
    /// Connections, until they are established.
    Connect,
    /// The proxy, once it is connected to.
    Proxy,
    /// The TLS handshake and its certificates.
    Tls,
    /// The request, until the headers of the response.
    Request,
    /// The response's body.
    Body,
    /// The caller, who did not wait any longer.
    Caller,
}

/// What kind of failure it is, whatever its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// Took longer than it may.
    Timeout,
    /// The caller gave up.
    Canceled,
    /// The other end, or something before it, refused the connection.
    Refused,
    /// The other end reset the connection.
    Reset,
    /// There is no way to the address.
    Unreachable,
    /// The connection ended where more had to come.
    Closed,
    /// The name does not exist, or has no address.
    NoSuchName,
    /// The name server failed, or answered nonsense.
    ServerMisbehaving,
    /// Every name server was left out.
    NoNameserver,
    /// The socket could not be bound to the source address.
    SourceAddress,
    /// The certificate is not acceptable.
    Certificate,
    /// The other end sent a TLS alert.
    Alert,
    /// The other end does not keep to the protocol.
    Protocol,
    /// The proxy said no.
    ProxyRefused,
    /// There were too many redirects.
    TooManyRedirects,
    /// More than a limit allows.
    TooLarge,
    /// Settings or addresses that cannot be.
    Invalid,
    /// The client was closed.
    ClientClosed,
    /// None of these.
    Other,
}

/// What the kernel was told of a connection's failure (`IP_RECVERR`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpCause {
    /// The host that reported it; our own where the kernel itself did.
    pub from: Option<IpAddr>,
    /// The ICMP or `ICMPv6` type; nothing where it was not a packet that told.
    pub icmp_type: Option<u8>,
    /// The ICMP or `ICMPv6` code.
    pub icmp_code: Option<u8>,
    /// In words.
    pub meaning: String,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub layer: Layer,
    /// How.
    pub kind: FailureKind,
    /// In words: what was being done, on what, why it failed.
    pub message: String,
    /// What the network said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<IcmpCause>>,
}

impl Failure {
    pub(crate) fn new(layer: Layer, kind: FailureKind, message: impl Into<String>) -> Self {
        Self { layer, kind, message: message.into(), cause: None }
    }
}
