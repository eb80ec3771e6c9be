//! What is told of each step in words, beside its bar.

use http::StatusCode;
use http_trace::{
    HttpTrace,
    record::{
        Attempt, AttemptOutcome, Certificate, Dial, DialOutcome, HttpRequest, LookupSource,
        Message, TlsTunnel,
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
                parts.push(match dial.attempts.first() {
                    Some(only) if dial.attempts.len() == 1 => of_attempt(only),
                    _ => dial.destination.clone(),
                });
                if let DialOutcome::Abandoned { reason } = &dial.outcome {
                    parts.push(format!("abandoned: {reason}"));
                }
            }
        }
    }
    if let Some(cost) = dial.and_then(|dial| dial.fallback_cost).filter(|cost| *cost > 0) {
        parts.push(format!("{} lost with other addresses", show_nanoseconds(cost)));
    }
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
    let mut tunnels = tunnels(trace, request);
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
