//! HTTP Archive 1.2, which the developer tools of browsers open. What the format has no place for
//! is in fields whose names begin with an underscore, as it asks for.

use std::time::Duration;

use http_trace::{
    HttpTrace,
    record::{Header, HttpRequest, Message, TlsTunnel},
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    detail,
    failure::{failure, layer_name, sentence},
    timeline::{Phase, Span, spans},
};

/// What stands before the first entry.
pub(crate) fn head() -> String {
    let creator = json!({ "name": "netglass", "version": env!("CARGO_PKG_VERSION") });
    format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[")
}

/// What stands after the last entry.
pub(crate) const TAIL: &str = "]}}\n";

/// An entry for each request of a trace.
pub(crate) fn entries(trace: &HttpTrace) -> impl Iterator<Item = Value> + '_ {
    trace.requests.iter().map(move |request| entry(trace, request))
}

/// Durations of the phases of a request; in JSON in milliseconds, with -1 for one that did not apply.
#[derive(Debug, Serialize)]
struct Timings {
    blocked: Timing,
    dns: Timing,
    connect: Timing,
    /// Part of `connect`, too.
    ssl: Timing,
    send: Timing,
    wait: Timing,
    receive: Timing,
}

/// In nanoseconds, so that sums and their parts agree; nothing where it did not apply.
#[derive(Debug, Clone, Copy)]
struct Timing(Option<u64>);

impl Serialize for Timing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.map_or(-1.0, |nanoseconds| nanoseconds as f64 / 1e6))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Timings {
    fn of(trace: &HttpTrace, request: &HttpRequest) -> Self {
        let spans = spans(request, trace.ended_at);
        let of = |phase| spans.iter().find(|span| span.phase == phase).map(Span::nanoseconds);
        // The handshake of QUIC is that of TLS, too.
        let quic = spans.iter().find(|span| span.phase == Phase::Quic);
        let tls = of(Phase::Tls);
        let ssl = tls.or(of(Phase::Quic));
        let opened = spans.iter().find(|span| span.phase == Phase::Connect);
        // Both may have been tried at once.
        let connect = quic
            .or(opened)
            .zip(opened.or(quic))
            .map(|(first, last)| nanoseconds(last.ended.max(first.ended).since(first.began)));
        let connect = connect.or(tls.map(|_| 0));
        let connect = connect.map(|connect| connect + tls.unwrap_or_default());
        // Time that no phase accounts for, as between a connection and its first use, was waited.
        let until_sent = request.phases.request_began_at.or(request.phases.connection_at);
        let until_sent = until_sent.map(|at| nanoseconds(at.since(request.phases.queued_at)));
        let dns = of(Phase::Lookup);
        let accounted = dns.unwrap_or_default() + connect.unwrap_or_default();
        let blocked = match until_sent {
            Some(until_sent) => until_sent.saturating_sub(accounted),
            None => of(Phase::Queued).unwrap_or_default(),
        };
        let always = |phase| Timing(Some(of(phase).unwrap_or_default()));
        Self {
            blocked: Timing(Some(blocked)),
            dns: Timing(dns),
            connect: Timing(connect),
            ssl: Timing(ssl),
            send: always(Phase::Request),
            wait: always(Phase::Wait),
            receive: always(Phase::Response),
        }
    }

    /// The sum; `ssl` is in `connect`.
    fn total(&self) -> Timing {
        let parts = [self.blocked, self.dns, self.connect, self.send, self.wait, self.receive];
        Timing(Some(parts.into_iter().filter_map(|part| part.0).sum()))
    }
}

fn entry(trace: &HttpTrace, request: &HttpRequest) -> Value {
    let timings = Timings::of(trace, request);
    let began = detail::wall(trace, trace.relative(request.phases.queued_at));
    let connection = request.connection.and_then(|id| Some((id, trace.addresses(id)?)));
    let mut entry = json!({
        "startedDateTime": format!("{began:.3}"),
        "time": timings.total(),
        "request": request_object(request),
        "response": response_object(request),
        "cache": {},
        "timings": timings,
    });
    if let Some((id, addresses)) = connection {
        entry["serverIPAddress"] = json!(addresses.destination.ip().to_string());
        entry["connection"] = json!(id.0.to_string());
    }
    if let Some(quic) = detail::quic(trace, request) {
        entry["_quic"] = json!({
            "version": quic.version,
            "earlyData": quic.early_data,
            "sourceConnectionId": quic.source_connection_id,
            "destinationConnectionId": quic.destination_connection_id,
        });
    }
    let attempts = request.dial.and_then(|id| trace.dial(id)).map(|dial| &dial.attempts);
    if let Some(attempts) = attempts.filter(|attempts| !attempts.is_empty()) {
        let attempts: Vec<_> = attempts.iter().map(detail::of_attempt).collect();
        entry["_connectAttempts"] = json!(attempts);
    }
    if let Some(tunnel) = request.tls.and_then(|id| trace.tls_tunnel(id)) {
        entry["_securityDetails"] = security(tunnel);
    }
    if let Some(proxy) = &request.proxy {
        entry["_proxy"] = json!(proxy);
    }
    if let Some(failure) = failure(request) {
        entry["comment"] = json!(sentence(trace, request));
        entry["_failedLayer"] = json!(layer_name(failure.layer));
    }
    entry
}

fn request_object(request: &HttpRequest) -> Value {
    let message = &request.request;
    let headers: Vec<Header> = message.headers.iter().chain(&request.added_headers).collect();
    let query: Vec<Value> = match url::Url::parse(&request.url) {
        Ok(url) => {
            url.query_pairs().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        }
        Err(_) => Vec::new(),
    };
    let mut object = json!({
        "method": request.method,
        "url": request.url,
        "httpVersion": version(request),
        "cookies": cookies(&headers, "cookie"),
        "headers": pairs(&headers),
        "queryString": query,
        "headersSize": -1,
        "bodySize": message.wire_body_bytes,
    });
    if message.body_bytes > 0 {
        object["postData"] = json!({
            "mimeType": value_of(&headers, "content-type"),
            "params": [],
            "text": "",
            "comment": "bodies are not recorded",
        });
    }
    object
}

fn response_object(request: &HttpRequest) -> Value {
    let empty = Message::default();
    let message = request.response.as_ref().unwrap_or(&empty);
    let headers: Vec<Header> = message.headers.iter().collect();
    let status = request.status.unwrap_or_default();
    let text = http::StatusCode::from_u16(status).ok();
    let compression = i128::from(message.body_bytes) - i128::from(message.wire_body_bytes);
    let mut object = json!({
        "status": status,
        "statusText": text.and_then(|status| status.canonical_reason()).unwrap_or_default(),
        "httpVersion": version(request),
        "cookies": cookies(&headers, "set-cookie"),
        "headers": pairs(&headers),
        "content": {
            "size": message.body_bytes,
            "compression": i64::try_from(compression).unwrap_or_default(),
            "mimeType": value_of(&headers, "content-type"),
        },
        "redirectURL": value_of(&headers, "location"),
        "headersSize": -1,
        "bodySize": message.wire_body_bytes,
    });
    if let Some(failure) = failure(request) {
        object["_error"] = json!(failure.message);
    }
    object
}

fn version(request: &HttpRequest) -> &str {
    match request.version.as_deref() {
        // As browsers call it.
        Some("HTTP/3") => "h3",
        version => version.unwrap_or("unknown"),
    }
}

/// What is shown of a header's value.
fn shown(header: &Header) -> &str {
    match &header.value {
        _ if header.redacted => "REDACTED",
        Some(value) => value,
        None => "",
    }
}

fn pairs(headers: &[Header]) -> Vec<Value> {
    let pair = |header: &Header| json!({ "name": header.name, "value": shown(header) });
    headers.iter().map(pair).collect()
}

fn named<'a>(headers: &'a [Header], name: &str) -> impl Iterator<Item = &'a Header> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
}

fn value_of<'a>(headers: &'a [Header], name: &str) -> &'a str {
    named(headers, name).next().map(shown).unwrap_or_default()
}

/// The cookies of `Cookie` or `Set-Cookie`; none of what is not shown.
fn cookies(headers: &[Header], name: &str) -> Vec<Value> {
    let is_set = name == "set-cookie";
    let mut cookies = Vec::new();
    for header in named(headers, name).filter(|header| !header.redacted) {
        let mut parts = shown(header).split(';').map(str::trim).filter(|part| !part.is_empty());
        let first_only = if is_set { 1 } else { usize::MAX };
        for pair in parts.by_ref().take(first_only) {
            let (name, value) = pair.split_once('=').unwrap_or(("", pair));
            cookies.push(json!({ "name": name, "value": value }));
        }
        let Some(cookie) = cookies.last_mut().filter(|_| is_set) else { continue };
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            match name.to_ascii_lowercase().as_str() {
                "path" => cookie["path"] = json!(value),
                "domain" => cookie["domain"] = json!(value),
                "httponly" => cookie["httpOnly"] = json!(true),
                "secure" => cookie["secure"] = json!(true),
                _ => {}
            }
        }
    }
    cookies
}

fn security(tunnel: &TlsTunnel) -> Value {
    let certificate = tunnel.certificates.first();
    json!({
        "protocol": tunnel.version,
        "cipher": tunnel.cipher_suite_name,
        "keyExchangeGroup": tunnel.group,
        "alpn": tunnel.protocol,
        "resumed": tunnel.resumed,
        "subjectName": certificate.map(|it| &it.subject),
        "issuer": certificate.map(|it| &it.issuer),
        "sanList": certificate.map(|it| &it.names),
        "validFrom": certificate.and_then(|it| it.not_before),
        "validTo": certificate.and_then(|it| it.not_after),
    })
}
