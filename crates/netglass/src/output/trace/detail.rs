//! What is told of each step in words, beside its bar.

use http::StatusCode;
use http_trace::{
    HttpTrace,
    record::{
        Attempt, AttemptOutcome, AttemptTransport, Certificate, Dial, DialOutcome, EarlyData,
        HttpRequest, LookupSource, Message, QuicConnection, TlsTunnel,
    },
};
use jiff::Timestamp;

use super::{show_nanoseconds, text::proxy_connect, timeline::Phase};
use crate::output::tree::show_bytes;

/// How an attempt ended, as far as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Won,
    Failed,
    Other,
}

/// What is told of a phase.
pub(super) fn of_phase(
    trace: &HttpTrace,
    request: &HttpRequest,
    dial: Option<&Dial>,
    phase: Phase,
) -> String {
    match phase {
        Phase::Queued => "until there was a connection".to_owned(),
        Phase::Lookup => dial.map(|dial| of_lookup(trace, dial)).unwrap_or_default(),
        Phase::Quic => of_quic(trace, request, dial),
        Phase::Connect => of_connect(trace, request, dial),
        Phase::Tls => of_tls(trace, request),
        Phase::Request => of_request(request),
        Phase::Wait => of_wait(request),
        Phase::Response => request
            .response
            .as_ref()
            .map(|response| of_response(request, response))
            .unwrap_or_default(),
    }
}

fn of_lookup(trace: &HttpTrace, dial: &Dial) -> String {
    let Some(lookup) = &dial.lookup else { return String::new() };
    let mut parts = Vec::new();
    if lookup.addresses.is_empty() {
        parts.push(format!("{}: no address", lookup.name));
    } else {
        let addresses: Vec<_> = lookup.addresses.iter().map(ToString::to_string).collect();
        parts.push(format!("{}: {}", lookup.name, addresses.join(" ")));
    }
    let canonical = lookup.canonical_name.as_deref().map(|name| name.trim_end_matches('.'));
    if let Some(name) = canonical.filter(|name| *name != lookup.name.trim_end_matches('.')) {
        parts.push(format!("by its other name {name}"));
    }
    parts.push(match lookup.source {
        LookupSource::Override => "as --resolve says".to_owned(),
        LookupSource::Hosts => "from the hosts file".to_owned(),
        LookupSource::Cache => "remembered".to_owned(),
        LookupSource::Dns => {
            let mut servers: Vec<String> = Vec::new();
            for exchange in trace.dns.iter().filter(|exchange| exchange.dial == Some(dial.id)) {
                let server = exchange.nameserver.to_string();
                if !servers.contains(&server) {
                    servers.push(server);
                }
            }
            if servers.is_empty() {
                "from DNS".to_owned()
            } else {
                format!("from {}", servers.join(" and "))
            }
        }
    });
    parts.join(", ")
}

/// Whether the attempts of a dial are worth a line each.
pub(super) fn has_several_attempts(dial: &Dial) -> bool {
    dial.attempts.len() > 1
}

fn of_connect(trace: &HttpTrace, request: &HttpRequest, dial: Option<&Dial>) -> String {
    let mut parts = Vec::new();
    let connection = match dial {
        Some(dial) => dial.outcome.connection(),
        None => request.connection,
    };
    match connection.and_then(|id| trace.tcp_connection(id)) {
        Some(connection) => {
            let from = match connection.addresses.source {
                Some(source) => format!(" from {source}"),
                None => String::new(),
            };
            parts.push(format!("{}{from}", connection.addresses.destination));
            if let Some(information) = &connection.information_at_connect {
                let rtt = u64::from(information.rtt_us).saturating_mul(1_000);
                parts.push(format!("round trip {}", show_nanoseconds(rtt)));
            }
        }
        None => {
            if let Some(dial) = dial {
                parts.push(of_only_attempt(dial));
                if let DialOutcome::Abandoned { reason } = &dial.outcome {
                    parts.push(format!("abandoned: {reason}"));
                }
            }
        }
    }
    parts.extend(dial.and_then(of_fallback));
    if let Some(connect) = proxy_connect(trace, request) {
        let proxy = request.proxy.as_deref().unwrap_or("a proxy");
        let answer = match connect.status {
            Some(status) => format!(": {status}"),
            None => String::new(),
        };
        parts.push(format!("{proxy} asked for {}{answer}", connect.target));
    } else if let Some(proxy) = &request.proxy {
        parts.push(format!("the proxy {proxy}"));
    }
    parts.join(", ")
}

/// What the attempts before the one that won cost.
fn of_fallback(dial: &Dial) -> Option<String> {
    let cost = show_nanoseconds(dial.fallback_cost.filter(|cost| *cost > 0)?);
    let winner = dial.attempts.iter().find(|it| it.outcome == AttemptOutcome::Won)?.transport;
    let others = dial.attempts.iter().all(|attempt| attempt.transport == winner);
    Some(format!("{cost} lost with {}", if others { "other addresses" } else { "QUIC" }))
}

fn of_only_attempt(dial: &Dial) -> String {
    match &dial.attempts[..] {
        [only] => of_attempt(only),
        _ => dial.destination.clone(),
    }
}

/// The QUIC connection that a request went over, or that was made for it.
pub(super) fn quic<'a>(trace: &'a HttpTrace, request: &HttpRequest) -> Option<&'a QuicConnection> {
    let dial = || request.dial.and_then(|id| trace.dial(id))?.outcome.connection();
    trace.udp_connection(request.connection.or_else(dial)?)?.quic.as_deref()
}

fn of_quic(trace: &HttpTrace, request: &HttpRequest, dial: Option<&Dial>) -> String {
    let connection = match dial {
        Some(dial) => dial.outcome.connection(),
        None => request.connection,
    };
    let Some((connection, quic)) = connection
        .and_then(|id| trace.udp_connection(id))
        .and_then(|connection| Some((connection, connection.quic.as_deref()?)))
    else {
        return dial.map(of_only_attempt).unwrap_or_default();
    };
    let from = connection.addresses.source.map(|source| format!(" from {source}"));
    let to = connection.addresses.destination;
    let mut parts = vec![format!("{to}{}", from.unwrap_or_default())];
    parts.push(format!("QUIC {}", quic_version(quic.version)));
    if let Some(statistics) = &quic.statistics {
        let rtt = show_nanoseconds(statistics.minimum_rtt_us.saturating_mul(1_000));
        parts.push(format!("round trip {rtt}"));
    }
    let mut tunnels = tunnels(trace, request);
    if let Some(tunnel) = tunnels.find(|tunnel| tunnel.connection == Some(connection.id)) {
        parts.push(of_tunnel(tunnel));
    }
    if quic.retried {
        parts.push("after a proof of our address".to_owned());
    }
    parts.extend(early_data(quic).map(str::to_owned));
    parts.extend(dial.and_then(of_fallback));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// A version by its name (RFC 9000, section 15; RFC 9369).
pub(super) fn quic_version(number: u32) -> String {
    match number {
        1 => "version 1".to_owned(),
        0x6b33_43cf => "version 2".to_owned(),
        0xff00_0000..=0xff00_00ff => format!("draft {}", number & 0xff),
        _ => format!("version 0x{number:08x}"),
    }
}

/// What became of early data.
pub(super) fn early_data(quic: &QuicConnection) -> Option<&'static str> {
    match quic.early_data {
        EarlyData::NotOffered => None,
        EarlyData::Offered => Some("0-RTT offered"),
        EarlyData::Accepted => Some("0-RTT accepted"),
        EarlyData::Rejected => Some("0-RTT rejected"),
    }
}

/// Whether a tunnel is part of a QUIC connection.
pub(super) fn is_of_quic(trace: &HttpTrace, tunnel: &TlsTunnel) -> bool {
    tunnel.connection.is_some_and(|id| trace.udp_connection(id).is_some())
}

/// The attempts of a phase.
pub(super) fn attempts(dial: &Dial, phase: Phase) -> impl Iterator<Item = (usize, &Attempt)> {
    let transport = match phase {
        Phase::Quic => Some(AttemptTransport::Quic),
        Phase::Connect => Some(AttemptTransport::Tcp),
        _ => None,
    };
    let attempts = dial.attempts.iter().enumerate();
    attempts.filter(move |(_, attempt)| Some(attempt.transport) == transport)
}

pub(super) fn attempt_state(attempt: &Attempt) -> State {
    match attempt.outcome {
        AttemptOutcome::Won => State::Won,
        AttemptOutcome::Failed { .. } => State::Failed,
        _ => State::Other,
    }
}

/// What is told of an attempt to connect.
pub(super) fn of_attempt(attempt: &Attempt) -> String {
    let how = match &attempt.outcome {
        AttemptOutcome::Running => "has not ended".to_owned(),
        AttemptOutcome::Won => "won".to_owned(),
        AttemptOutcome::Abandoned { reason } => format!("abandoned: {reason}"),
        AttemptOutcome::Failed { error } => format!("failed: {}", error.message),
    };
    let fallback = if attempt.fallback { " (the other family)" } else { "" };
    format!("{}{fallback} {how}", attempt.address)
}

/// The tunnels of a request: those made for it, also where they failed, and those that it uses.
pub(super) fn tunnels<'a>(
    trace: &'a HttpTrace,
    request: &'a HttpRequest,
) -> impl DoubleEndedIterator<Item = &'a TlsTunnel> {
    trace.tls.iter().map(|tunnel| &**tunnel).filter(|tunnel| {
        tunnel.request == Some(request.id)
            || [request.tls, request.proxy_tls].contains(&Some(tunnel.id))
    })
}

fn of_tls(trace: &HttpTrace, request: &HttpRequest) -> String {
    let mut tunnels = tunnels(trace, request).filter(|tunnel| !is_of_quic(trace, tunnel));
    match (tunnels.next(), tunnels.next()) {
        (Some(tunnel), None) => of_tunnel(tunnel),
        (Some(_), Some(_)) => "two handshakes".to_owned(),
        (None, _) => String::new(),
    }
}

/// What a handshake agreed on.
pub(super) fn of_tunnel(tunnel: &TlsTunnel) -> String {
    let agreed = [&tunnel.version, &tunnel.group, &tunnel.cipher_suite_name, &tunnel.protocol];
    let mut parts: Vec<String> = agreed.into_iter().flatten().cloned().collect();
    if tunnel.resumed {
        parts.push("resumed".to_owned());
    }
    if let Some(alert) = &tunnel.alert_received {
        parts.push(format!("the other end sent the alert {alert}"));
    }
    if let Some(alert) = &tunnel.alert_sent {
        parts.push(format!("we sent the alert {alert}"));
    }
    if tunnel.client_certificate_requested {
        parts.push("it asked for our certificate".to_owned());
    }
    parts.join(", ")
}

/// The certificate that matters of a tunnel, and whether there is something odd with its dates.
pub(super) fn of_certificate(trace: &HttpTrace, tunnel: &TlsTunnel) -> Option<(String, bool)> {
    let refused = tunnel.refused_certificate.and_then(|index| usize::try_from(index).ok());
    let certificate = tunnel.certificates.get(refused.unwrap_or_default())?;
    let now = wall(trace, trace.relative(trace.ended_at));
    let (validity, is_odd) = validity(certificate, now);
    let issuer = if certificate.issuer == certificate.subject {
        "signed by itself".to_owned()
    } else {
        format!("signed by {}", certificate.issuer)
    };
    let subject = &certificate.subject;
    Some((format!("certificate of {subject}: {validity}, {issuer}"), is_odd || refused.is_some()))
}

/// How long a certificate is still valid, and whether that is soon over, or not so.
pub(super) fn validity(certificate: &Certificate, now: Timestamp) -> (String, bool) {
    const SOON: i64 = 14;
    let days = |later: Timestamp, earlier: Timestamp| {
        later.duration_since(earlier).as_secs().div_euclid(86_400)
    };
    let count = |days: i64| format!("{days} day{}", if days == 1 { "" } else { "s" });
    match (certificate.not_before, certificate.not_after) {
        (Some(from), _) if now < from => {
            (format!("not valid before {from:.0}, in {}", count(days(from, now))), true)
        }
        (_, Some(until)) if until < now => {
            (format!("expired {} ago, at {until:.0}", count(days(now, until))), true)
        }
        (_, Some(until)) => {
            let left = days(until, now);
            (format!("{} left", count(left)), left < SOON)
        }
        (_, None) => ("valid nobody knows how long".to_owned(), true),
    }
}

/// What clocks on the wall said so long after the beginning of a trace.
pub(super) fn wall(trace: &HttpTrace, relative: i64) -> Timestamp {
    let since = jiff::SignedDuration::from_nanos(relative);
    trace.began_at_wall.checked_add(since).unwrap_or(trace.began_at_wall)
}

fn of_request(request: &HttpRequest) -> String {
    let mut parts = Vec::new();
    if request.request.body_bytes > 0 {
        parts.push(format!("with a body of {}", show_bytes(request.request.body_bytes)));
    }
    if let Some(stream) = request.stream {
        parts.push(format!("stream {stream}"));
    }
    if let Some(last) = request.uses.last().filter(|last| last.reused) {
        let idle = match last.idle {
            Some(idle) => format!(", idle for {}", show_nanoseconds(idle)),
            None => String::new(),
        };
        parts.push(format!("on a connection that was open{idle}"));
    }
    let failed = request.uses.iter().filter(|earlier| earlier.error.is_some()).count();
    if failed > 0 {
        let plural = if failed == 1 { "" } else { "s" };
        parts.push(format!("after {failed} connection{plural} that failed it"));
    }
    parts.join(", ")
}

fn of_wait(request: &HttpRequest) -> String {
    let until = "until the first byte of the response".to_owned();
    // Where the request has no bar of its own, this one tells of it, too.
    let is_alone = request.phases.request_ended_at.is_none();
    let of_request = if is_alone { of_request(request) } else { String::new() };
    if of_request.is_empty() { until } else { format!("{until}, {of_request}") }
}

fn of_response(request: &HttpRequest, response: &Message) -> String {
    let mut parts = vec![body(response)];
    if let Some(coding) = &request.decoded {
        parts.push(format!("{coding} of {}", show_bytes(response.wire_body_bytes)));
    }
    if let Some(reset) = &request.reset {
        parts.push(format!("the stream was reset with code {}", reset.code));
    }
    if let Some(services) = &request.alternative_services {
        parts.push(format!("also at {services}"));
    }
    parts.join(", ")
}

/// How much of a body was read.
pub(super) fn body(message: &Message) -> String {
    show_bytes(message.body_bytes)
}

/// A status with its usual words.
pub(super) fn status(code: u16) -> String {
    let known = StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}
