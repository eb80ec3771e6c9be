//! Requests and their responses.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{AlternativeServices, AttemptTransport, Dial, Failure, Headers, Id};
use crate::clock::Moment;

/// A request, until the last byte of its response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Its name.
    pub id: Id,
    /// The connection that it went over last. Nothing where there was none, or it is not of this
    /// trace.
    pub connection: Option<Id>,
    /// The connections that it went over, with those that failed it.
    pub uses: Vec<ConnectionUse>,
    /// The dial that was begun for it.
    pub dial: Option<Id>,
    /// The TLS tunnel to the server that it went through, whether made for it or there before.
    pub tls: Option<Id>,
    /// The TLS tunnel to the proxy.
    pub proxy_tls: Option<Id>,
    /// What the proxy was asked for it.
    pub proxy_connect: Option<Id>,
    /// Whether the tunnels were made for this request.
    pub made_tunnels: bool,
    /// The proxy's URL, without its password.
    pub proxy: Option<String>,
    /// How it came about, where a response before it asked for it.
    pub via: Option<Via>,
    /// The URL, without its password.
    pub url: Arc<str>,
    /// The method.
    pub method: Cow<'static, str>,
    /// The version of HTTP that was spoken, as `HTTP/1.1`.
    pub version: Option<Cow<'static, str>>,
    /// The stream of the connection, in HTTP/2 and HTTP/3.
    pub stream: Option<u64>,
    /// What was sent.
    pub request: Message,
    /// The names of headers that the client added, and the caller did not give.
    pub added_headers: Headers,
    /// The final response's status code.
    pub status: Option<u16>,
    /// What was received.
    pub response: Option<Message>,
    /// Responses before the final one (1xx).
    pub informational: Vec<Informational>,
    /// The coding that the client took off the body.
    pub decoded: Option<String>,
    /// When what happened.
    pub phases: Phases,
    /// Why there is no response.
    pub error: Option<Failure>,
    /// Why the response's body is not whole.
    pub body_error: Option<Failure>,
    /// Why the request that the response asks for was not made, although redirects are followed.
    #[serde(default)]
    pub redirect_error: Option<Failure>,
    /// That the stream was ended before its time, in HTTP/2 and HTTP/3.
    pub reset: Option<Reset>,
    /// Where the response says that the same is to be had over another protocol (RFC 7838).
    pub alternative_services: Option<String>,
    /// The same, understood.
    pub alternatives: Option<Box<AlternativeServices>>,
}

/// A connection that a request went over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionUse {
    /// Which. Nothing where it is not of this trace.
    pub connection: Option<Id>,
    /// When the request was given to it.
    pub at: Moment,
    /// Whether it had been used before.
    pub reused: bool,
    /// How long it had been idle, in nanoseconds.
    pub idle: Option<u64>,
    /// Why it had to be given to another.
    pub error: Option<Failure>,
}

/// Why a request was made that the caller did not ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Via {
    /// A response said to look elsewhere.
    Redirect {
        /// The request that it answered. Nothing where it is not of this trace.
        from: Option<Id>,
        /// How many came before, with it.
        hop: u32,
    },
}

/// The headers, the length and the trailers of a request or a response.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// As the caller gave or receives them, as far as they are to be recorded.
    pub headers: Headers,
    /// Headers after the body.
    pub trailers: Headers,
    /// Bytes of the body that were read from, or by, the caller: after codings were taken off.
    pub body_bytes: u64,
    /// Bytes of the body as they travelled, without the framing of chunks and frames.
    pub wire_body_bytes: u64,
}

/// A response that another follows (1xx).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Informational {
    /// When it was there.
    pub at: Moment,
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
}

/// When a request got how far. What did not happen, or was not needed, is not there: a phase that
/// has a beginning alone ended with the request, which failed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// When the caller gave it to the client.
    pub queued_at: Moment,
    /// When there was a connection for it.
    pub connection_at: Option<Moment>,
    /// When the lookup of the name began, of the connection made for it.
    pub lookup_began_at: Option<Moment>,
    /// When it ended.
    pub lookup_ended_at: Option<Moment>,
    /// When connecting began, of the connection made for it.
    pub connect_began_at: Option<Moment>,
    /// When it ended.
    pub connect_ended_at: Option<Moment>,
    /// When the first handshake of QUIC began, of the connection made for it. It is that of TLS, too.
    pub quic_began_at: Option<Moment>,
    /// When the last of them ended; with early data, when the request could be sent.
    pub quic_ended_at: Option<Moment>,
    /// When the handshakes of TLS began, of the connection made for it.
    pub tls_began_at: Option<Moment>,
    /// When the last of them ended.
    pub tls_ended_at: Option<Moment>,
    /// When its first byte was written.
    pub request_began_at: Option<Moment>,
    /// When its last byte was written.
    pub request_ended_at: Option<Moment>,
    /// When the first byte of the response was read.
    pub first_byte_at: Option<Moment>,
    /// When the headers of the response were there.
    pub headers_at: Option<Moment>,
    /// When the response's last byte was read, or the caller wanted no more of it.
    pub ended_at: Option<Moment>,
}

impl Phases {
    /// The phases of a dial.
    pub(crate) fn of_dial(dial: &Dial) -> Self {
        let lookup = dial.lookup.as_ref();
        let (connect_began_at, connect_ended_at) = dial.times_of(AttemptTransport::Tcp);
        let (quic_began_at, quic_ended_at) = dial.times_of(AttemptTransport::Quic);
        Self {
            lookup_began_at: lookup.map(|lookup| lookup.began_at),
            lookup_ended_at: lookup.and_then(|lookup| lookup.ended_at),
            connect_began_at,
            connect_ended_at,
            quic_began_at,
            quic_ended_at,
            ..Self::default()
        }
    }

    /// Takes up the phases of a dial that are not known yet.
    pub(crate) fn take_up(&mut self, dial: Self) {
        for (own, other) in [
            (&mut self.lookup_began_at, dial.lookup_began_at),
            (&mut self.lookup_ended_at, dial.lookup_ended_at),
            (&mut self.connect_began_at, dial.connect_began_at),
            (&mut self.connect_ended_at, dial.connect_ended_at),
            (&mut self.quic_began_at, dial.quic_began_at),
            (&mut self.quic_ended_at, dial.quic_ended_at),
        ] {
            *own = own.or(other);
        }
    }
}

/// Who ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetBy {
    /// We did.
    Client,
    /// The other end did.
    Server,
}

/// That a stream was ended (`RST_STREAM`, `RESET_STREAM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// When.
    pub at: Moment,
    /// By whom.
    pub by: ResetBy,
    /// The error code of RFC 9113, section 7, or of RFC 9114, section 8.1.
    pub code: u64,
}

/// What a proxy was asked to connect to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyConnect {
    /// Its name.
    pub id: Id,
    /// The connection to the proxy. Nothing where it is not of this trace.
    pub connection: Option<Id>,
    /// The request that it was made for. Nothing where it is not of this trace.
    pub request: Option<Id>,
    /// The language: `http` for `CONNECT`, `socks5`.
    pub protocol: String,
    /// Host and port.
    pub target: String,
    /// When it was sent.
    pub began_at: Moment,
    /// When it was answered.
    pub ended_at: Option<Moment>,
    /// The status code of HTTP, or the reply code of SOCKS.
    pub status: Option<u16>,
    /// The headers of the answer.
    pub headers: Headers,
    /// Why there is no connection.
    pub error: Option<Failure>,
}
