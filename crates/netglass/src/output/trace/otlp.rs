//! Spans for a collector of OpenTelemetry: the body of an export request as OTLP has it in JSON.
//! Names of attributes are those of its semantic conventions where it has any.

use std::fmt::Write as _;

use http_trace::{
    HttpTrace,
    clock::Moment,
    record::{AttemptOutcome, Failure, HttpRequest, Id, Via},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    detail,
    failure::{failure, layer_name, sentence},
    timeline::spans,
};

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `SPAN_KIND_CLIENT`.
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// What the id of the span of a whole request is made of, which no phase is called.
const WHOLE: &str = "whole";

/// A request to export all spans of a trace.
pub(crate) fn export(trace: &HttpTrace) -> Value {
    let spans: Vec<Value> =
        trace.requests.iter().flat_map(|request| request_spans(trace, request)).collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "netglass"),
            text("service.version", version),
        ] },
        "scopeSpans": [{
            "scope": { "name": "netglass trace", "version": version },
            "spans": spans,
        }],
    }] })
}

/// The spans of one request: its own, and one for each phase and each attempt to connect.
fn request_spans(trace: &HttpTrace, request: &HttpRequest) -> Vec<Value> {
    let ids = Ids { trace, request };
    let end = request.phases.ended_at.unwrap_or(trace.ended_at);
    let mut root = ids.span(WHOLE, &request.method, request.phases.queued_at, end);
    root["kind"] = json!(CLIENT);
    root["attributes"] = json!(attributes(trace, request));
    if let Some(Via::Redirect { from: Some(from), .. }) = &request.via {
        root["links"] = json!([{
            "traceId": ids.trace_id(),
            "spanId": hex(&ids.digest(*from, WHOLE), 8),
        }]);
    }
    if let Some(sentence) = sentence(trace, request) {
        root["status"] = json!({ "code": ERROR, "message": sentence });
    }
    let parent = root["spanId"].clone();
    let mut all = vec![root];
    let dial = request.dial.and_then(|id| trace.dial(id));
    for span in spans(request, trace.ended_at) {
        let name = span.phase.name();
        let mut object = ids.span(name, name, span.began, span.ended);
        object["parentSpanId"] = parent.clone();
        let words = detail::of_phase(trace, request, dial, span.phase);
        object["attributes"] = json!([text("netglass.detail", &words)]);
        if let Some(failure) = failure(request).filter(|_| !span.is_complete) {
            object["status"] = failed(failure);
        }
        let phase_id = object["spanId"].clone();
        all.push(object);
        let attempts = dial.iter().flat_map(|dial| detail::attempts(dial, span.phase));
        for (index, attempt) in attempts {
            let ended = attempt.ended_at.unwrap_or(trace.ended_at);
            let mut object =
                ids.span(&format!("attempt {index}"), "attempt", attempt.began_at, ended);
            object["parentSpanId"] = phase_id.clone();
            object["attributes"] = json!([
                text("network.peer.address", &attempt.address.ip().to_string()),
                number("network.peer.port", attempt.address.port().into()),
                text("netglass.detail", &detail::of_attempt(attempt)),
            ]);
            if let AttemptOutcome::Failed { error } = &attempt.outcome {
                object["status"] = failed(error);
            }
            all.push(object);
        }
    }
    all
}

fn failed(failure: &Failure) -> Value {
    json!({ "code": ERROR, "message": failure.message })
}

fn attributes(trace: &HttpTrace, request: &HttpRequest) -> Vec<Value> {
    let mut attributes =
        vec![text("http.request.method", &request.method), text("url.full", &request.url)];
    if let Ok(url) = url::Url::parse(&request.url) {
        attributes.extend(url.host_str().map(|host| text("server.address", host)));
        let port = url.port_or_known_default();
        attributes.extend(port.map(|port| number("server.port", port.into())));
    }
    if let Some(status) = request.status {
        attributes.push(number("http.response.status_code", status.into()));
    }
    let version = request.version.as_deref().and_then(|version| version.strip_prefix("HTTP/"));
    attributes.extend(version.map(|version| text("network.protocol.version", version)));
    attributes.push(number("http.request.body.size", request.request.wire_body_bytes));
    if let Some(response) = &request.response {
        attributes.push(number("http.response.body.size", response.wire_body_bytes));
    }
    if request.connection.is_some_and(|id| trace.udp_connection(id).is_some()) {
        attributes.push(text("network.transport", "quic"));
    }
    if let Some(addresses) = request.connection.and_then(|id| trace.addresses(id)) {
        let peer = addresses.destination;
        attributes.push(text("network.peer.address", &peer.ip().to_string()));
        attributes.push(number("network.peer.port", peer.port().into()));
    }
    if let Some(Via::Redirect { hop, .. }) = &request.via {
        attributes.push(number("http.request.resend_count", (*hop).into()));
    }
    if let Some(tunnel) = request.tls.and_then(|id| trace.tls_tunnel(id)) {
        let version = tunnel.version.as_deref().and_then(|version| version.strip_prefix("TLSv"));
        attributes.extend(version.map(|version| text("tls.protocol.version", version)));
        attributes.extend(tunnel.cipher_suite_name.iter().map(|name| text("tls.cipher", name)));
        if let Some(certificate) = tunnel.certificates.first() {
            attributes.push(text("tls.server.subject", &certificate.subject));
            attributes.push(text("tls.server.issuer", &certificate.issuer));
            let until = certificate.not_after.map(|until| until.to_string());
            attributes.extend(until.map(|until| text("tls.server.not_after", &until)));
        }
    }
    if let Some(failure) = failure(request) {
        attributes.push(text("error.type", layer_name(failure.layer)));
    }
    attributes
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// An integer: the mapping of Protocol Buffers has those of 64 bits as strings.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

/// Makes the ids of the spans of a request. They depend on what is recorded alone, so that who is sent the
/// same twice can tell.
struct Ids<'a> {
    trace: &'a HttpTrace,
    request: &'a HttpRequest,
}

impl Ids<'_> {
    /// A span from one moment to another.
    fn span(&self, key: &str, name: &str, began: Moment, ended: Moment) -> Value {
        json!({
            "traceId": self.trace_id(),
            "spanId": hex(&self.digest(self.request.id, key), 8),
            "name": name,
            "kind": INTERNAL,
            "startTimeUnixNano": self.wall(began),
            "endTimeUnixNano": self.wall(ended.max(began)),
        })
    }

    /// The same for a whole chain of redirects.
    fn trace_id(&self) -> String {
        let mut first = self.request;
        // A trace may have been written by anybody: its chain may be a circle.
        for _ in 0..self.trace.requests.len() {
            let Some(Via::Redirect { from: Some(from), .. }) = &first.via else { break };
            let Some(earlier) = self.trace.request(*from) else { break };
            first = earlier;
        }
        hex(&self.digest(first.id, "trace"), 16)
    }

    fn digest(&self, id: Id, key: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.trace.session.as_bytes());
        hash.update(self.trace.began_at_wall.as_nanosecond().to_le_bytes());
        hash.update(id.0.to_le_bytes());
        hash.update(key.as_bytes());
        hash.finalize().into()
    }

    fn wall(&self, moment: Moment) -> String {
        let wall = detail::wall(self.trace, self.trace.relative(moment));
        wall.as_nanosecond().max(0).to_string()
    }
}

/// The first bytes, as hexadecimal digits.
fn hex(bytes: &[u8], length: usize) -> String {
    bytes.iter().take(length).fold(String::with_capacity(2 * length), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
