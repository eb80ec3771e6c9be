//! What a request did when: the phases that every format shows, each in its own way.

use http_trace::{clock::Moment, record::HttpRequest};
use serde::Serialize;

/// What a request does for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It waits for its turn.
    Queued,
    /// The name is looked up.
    Lookup,
    /// A connection of QUIC is opened, with its handshake of TLS.
    Quic,
    /// A connection is opened.
    Connect,
    /// Handshakes of TLS.
    Tls,
    /// It is written.
    Request,
    /// Nothing has come back yet.
    Wait,
    /// The response is read.
    Response,
}

impl Phase {
    /// In their usual order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Lookup,
        Self::Quic,
        Self::Connect,
        Self::Tls,
        Self::Request,
        Self::Wait,
        Self::Response,
    ];

    /// As it is shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Lookup => "lookup",
            Self::Quic => "quic",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Request => "request",
            Self::Wait => "wait",
            Self::Response => "response",
        }
    }
}

/// When a phase was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which phase.
    pub(crate) phase: Phase,
    /// Its beginning.
    pub(crate) began: Moment,
    /// Its end: that of the request or the trace where it did not come to one of its own.
    pub(crate) ended: Moment,
    /// Whether it came to its own end.
    pub(crate) is_complete: bool,
}

impl Span {
    /// How long it was, in nanoseconds.
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.ended.0.saturating_sub(self.began.0)
    }
}

/// The phases that a request had, in their usual order. `now` is when the trace was taken.
pub(crate) fn spans(request: &HttpRequest, now: Moment) -> Vec<Span> {
    let phases = &request.phases;
    let end = phases.ended_at.unwrap_or(now);
    let mut spans = Vec::with_capacity(Phase::ALL.len());
    let mut push = |phase, began: Option<Moment>, ended: Option<Moment>| {
        if let Some(began) = began {
            spans.push(Span {
                phase,
                began,
                ended: ended.unwrap_or(end).max(began),
                is_complete: ended.is_some(),
            });
        }
    };
    let starts = [
        phases.lookup_began_at,
        phases.quic_began_at,
        phases.connect_began_at,
        phases.tls_began_at,
        phases.connection_at,
        phases.request_began_at,
    ];
    push(Phase::Queued, Some(phases.queued_at), starts.into_iter().flatten().min());
    push(Phase::Lookup, phases.lookup_began_at, phases.lookup_ended_at);
    push(Phase::Quic, phases.quic_began_at, phases.quic_ended_at);
    push(Phase::Connect, phases.connect_began_at, phases.connect_ended_at);
    push(Phase::Tls, phases.tls_began_at, phases.tls_ended_at);
    let first_byte = phases.first_byte_at.or(phases.headers_at);
    let wait = match (phases.request_began_at, phases.request_ended_at) {
        (began, Some(ended)) => {
            push(Phase::Request, began, Some(ended));
            // Of a response that came before the request was written, nobody waited.
            Some(ended).filter(|ended| first_byte.is_none_or(|first| *ended <= first))
        }
        (began @ Some(_), None) if first_byte.is_none() => {
            push(Phase::Request, began, None);
            None
        }
        // Of a request whose end nobody saw, all the time until the response counts as waiting.
        (began, None) => began.or(phases.connection_at),
    };
    push(Phase::Wait, wait, first_byte);
    push(Phase::Response, first_byte, phases.ended_at);
    spans
}

/// How long a request took until now, in nanoseconds.
pub(crate) fn total(request: &HttpRequest, now: Moment) -> u64 {
    let phases = &request.phases;
    phases.ended_at.unwrap_or(now).0.saturating_sub(phases.queued_at.0)
}
