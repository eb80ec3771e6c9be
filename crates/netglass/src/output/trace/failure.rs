//! Why a request failed, in one sentence: in which layer, against whom, what to look at next; and
//! the exit status that says the layer.

use std::fmt::Write as _;

use http_trace::{
    HttpTrace,
    record::{
        AttemptOutcome, AttemptTransport, Dial, Failure, FailureKind, HttpRequest, IcmpCause,
        Layer, TlsRole, TlsTunnel,
    },
};
use netglass_model::printable;

/// How many addresses a sentence names.
const NAMED: usize = 3;

/// Why a request has no response, or not all of one, or why nobody could go where that one leads.
pub(crate) fn failure(request: &HttpRequest) -> Option<&Failure> {
    failure_of_itself(request).or(request.redirect_error.as_ref())
}

/// Why a request has no response, or not all of one.
pub(crate) fn failure_of_itself(request: &HttpRequest) -> Option<&Failure> {
    request.error.as_ref().or(request.body_error.as_ref())
}

/// The exit status for a failure in a layer (docs/trace.md).
pub(crate) const fn exit_status(layer: Layer) -> u8 {
    match layer {
        Layer::Configuration => 2,
        Layer::Dns => 3,
        Layer::Connect => 4,
        Layer::Proxy => 5,
        Layer::Tls => 6,
        Layer::Request => 7,
        Layer::Body => 8,
        Layer::Caller => 9,
        _ => 1,
    }
}

/// What the layer is called.
pub(crate) const fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Configuration => "configuration",
        Layer::Dns => "name lookup",
        Layer::Connect => "connect",
        Layer::Proxy => "proxy",
        Layer::Tls => "TLS handshake",
        Layer::Request => "request",
        Layer::Body => "response body",
        Layer::Caller => "caller",
        _ => "client",
    }
}

/// The sentence of a request that failed.
pub(crate) fn sentence(trace: &HttpTrace, request: &HttpRequest) -> Option<String> {
    failure(request).map(|failure| sentence_of(trace, request, failure))
}

/// The sentence of a failure that ended a request.
pub(crate) fn sentence_of(trace: &HttpTrace, request: &HttpRequest, failure: &Failure) -> String {
    let whom = whom(trace, request, failure.layer);
    let mut sentence = format!(
        "{} failed: {} {} ({})",
        layer_name(failure.layer),
        printable(&whom),
        what(failure),
        printable(&failure.message),
    );
    if let Some(cause) = &failure.cause {
        // Writing to a String cannot fail.
        let _ = write!(sentence, ", {}", printable(&reported(cause)));
    }
    let _ = write!(sentence, "; next, {}.", next(failure, is_over_quic(trace, request)));
    sentence
}

/// What the network said.
fn reported(cause: &IcmpCause) -> String {
    let mut reported = match cause.from {
        Some(from) => format!("as {from} reported: {}", cause.meaning),
        None => format!("as was reported: {}", cause.meaning),
    };
    if let (Some(icmp_type), Some(code)) = (cause.icmp_type, cause.icmp_code) {
        let _ = write!(reported, " (ICMP type {icmp_type} code {code})");
    }
    reported
}

/// Against whom a request failed.
fn whom(trace: &HttpTrace, request: &HttpRequest, layer: Layer) -> String {
    let dial = request.dial.and_then(|id| trace.dial(id));
    match layer {
        Layer::Dns => nameservers(trace, dial),
        Layer::Connect => attempted(request, dial),
        Layer::Proxy => request.proxy.clone(),
        Layer::Tls => tunnel(trace, request),
        Layer::Request | Layer::Body => server(trace, request),
        Layer::Caller => Some("who asked".to_owned()),
        _ => None,
    }
    .unwrap_or_else(|| request.url.to_string())
}

fn nameservers(trace: &HttpTrace, dial: Option<&Dial>) -> Option<String> {
    let dial = dial?;
    let mut servers: Vec<String> = Vec::new();
    let exchanges = trace.dns.iter().filter(|it| it.dial == Some(dial.id));
    let asked = exchanges.map(|exchange| exchange.nameserver);
    for server in asked.chain(dial.resolver_dials.iter().map(|it| it.nameserver)) {
        let server = server.to_string();
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    let name = dial.lookup.as_ref().map_or(dial.destination.as_str(), |lookup| &lookup.name);
    Some(match servers.len() {
        0 => format!("for {name}, the resolver of this host"),
        _ => format!("for {name}, the name server {}", servers.join(" and ")),
    })
}

fn attempted(request: &HttpRequest, dial: Option<&Dial>) -> Option<String> {
    let dial = dial?;
    let lost = dial.attempts.iter().filter(|it| !matches!(it.outcome, AttemptOutcome::Won));
    let mut tried: Vec<String> = lost.map(|attempt| attempt.address.to_string()).collect();
    if tried.len() > NAMED {
        let more = tried.len() - NAMED;
        tried.truncate(NAMED);
        tried.push(format!("{more} more"));
    }
    let destination = &dial.destination;
    let whom = if tried.is_empty() {
        destination.clone()
    } else if tried.contains(destination) {
        tried.join(", ")
    } else {
        format!("{destination} ({})", tried.join(", "))
    };
    Some(if request.proxy.is_some() { format!("the proxy {whom}") } else { whom })
}

fn tunnel(trace: &HttpTrace, request: &HttpRequest) -> Option<String> {
    let own = |tunnel: &&TlsTunnel| tunnel.request == Some(request.id) && tunnel.error.is_some();
    let failed = trace.tls.iter().map(|tunnel| &**tunnel).rfind(own);
    let tunnel = failed.or_else(|| request.tls.and_then(|id| trace.tls_tunnel(id)))?;
    let address = tunnel
        .connection
        .and_then(|id| trace.addresses(id))
        .map(|addresses| addresses.destination.to_string());
    let name = tunnel.server_name.clone().or_else(|| host(request));
    let peer = match (name, address) {
        (Some(name), Some(address)) => format!("{name} ({address})"),
        (name, address) => name.or(address)?,
    };
    Some(match tunnel.role {
        TlsRole::Server => peer,
        TlsRole::Proxy => format!("the proxy {peer}"),
    })
}

fn server(trace: &HttpTrace, request: &HttpRequest) -> Option<String> {
    let address = request.connection.and_then(|id| trace.addresses(id))?.destination;
    Some(match host(request) {
        Some(host) if host != address.ip().to_string() => format!("{host} ({address})"),
        _ => address.to_string(),
    })
}

fn host(request: &HttpRequest) -> Option<String> {
    let url = url::Url::parse(&request.url).ok()?;
    url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())
}

/// What whoever it is did.
fn what(failure: &Failure) -> &'static str {
    match (failure.kind, failure.layer) {
        (FailureKind::Timeout, Layer::Body) => "did not send all of the response in time",
        (FailureKind::Timeout, _) => "did not answer in time",
        (FailureKind::Canceled, _) => "did not wait any longer",
        (FailureKind::Refused, _) => "refused the connection",
        (FailureKind::Reset, _) => "reset the connection",
        (FailureKind::Unreachable, _) => "cannot be reached",
        (FailureKind::Closed, _) => "closed the connection too early",
        (FailureKind::NoSuchName, _) => "knows no address",
        (FailureKind::ServerMisbehaving, _) => "failed, or answered what is no answer",
        (FailureKind::NoNameserver, _) => "has no name server left to ask",
        (FailureKind::SourceAddress, _) => "cannot be connected to from the source address",
        (FailureKind::Certificate, _) => "has a certificate that is not acceptable",
        (FailureKind::Alert, _) => "ended it with an alert",
        (FailureKind::Protocol, _) => "does not keep to the protocol",
        (FailureKind::ProxyRefused, _) => "did not connect to the server",
        (FailureKind::TooManyRedirects, _) => "redirects more often than is followed",
        (FailureKind::TooLarge, _) => "sent more than the limit allows",
        (FailureKind::Invalid, Layer::Request) => "redirects to where nobody can go",
        (FailureKind::Invalid, _) => "cannot be used as it was given",
        (FailureKind::ClientClosed, _) => "was cut short by the end of the client",
        _ => "failed",
    }
}

/// Whether nothing but QUIC was tried for a request.
fn is_over_quic(trace: &HttpTrace, request: &HttpRequest) -> bool {
    let dial = request.dial.and_then(|id| trace.dial(id));
    dial.and_then(|dial| dial.attempts.last())
        .is_some_and(|attempt| attempt.transport == AttemptTransport::Quic)
}

/// What to look at next.
fn next(failure: &Failure, is_over_quic: bool) -> &'static str {
    match (failure.kind, failure.layer) {
        (FailureKind::Timeout, Layer::Connect) if is_over_quic => {
            "see whether UDP is dropped on the way, and try --http2: many firewalls pass TCP alone"
        }
        (FailureKind::Refused, Layer::Connect) if is_over_quic => {
            "see whether a server of HTTP/3 listens at that address and UDP port (ss -lun on that \
             host), and try --http2"
        }
        (FailureKind::Protocol, Layer::Connect) if is_over_quic => {
            "look at the versions that the server names (-v), and try --http2"
        }
        (FailureKind::Timeout, Layer::Dns) => {
            "ask the name server yourself (dig), or another one with --dns-servers: a firewall may \
             drop port 53"
        }
        (FailureKind::Timeout, Layer::Connect) => {
            "see whether packets are dropped on the way: nothing came back, not even a refusal \
             (firewall, route, host down)"
        }
        (FailureKind::Timeout, Layer::Tls) => {
            "see whether the server speaks TLS at that port: it took the connection and was silent"
        }
        (FailureKind::Timeout, Layer::Proxy) => {
            "see whether the proxy itself reaches the server, or fetch it directly with -x ''"
        }
        (FailureKind::Timeout, Layer::Body) => {
            "see what the server does while it sends, or give it longer with -m"
        }
        (FailureKind::Timeout, _) => {
            "see what the server waits for (its log, what it asks itself), or give it longer with -m"
        }
        (FailureKind::Canceled, _) => {
            "look at the last phase above: it is what was being waited for"
        }
        (FailureKind::Refused, _) => {
            "see whether a server listens at that address and port (ss -ltn on that host), and \
             whether a firewall rejects"
        }
        (FailureKind::Reset, Layer::Connect) => {
            "look at the firewalls and load balancers on the way: somebody tore the connection down"
        }
        (FailureKind::Reset, _) => {
            "look into the server's log at this time: it, or somebody on the way, tore the \
             connection down"
        }
        (FailureKind::Unreachable, _) => {
            "look at the route to that address (ip route get), and at the other end of the link"
        }
        (FailureKind::Closed, Layer::Tls) => {
            "see whether the server speaks TLS at that port, and which versions it takes"
        }
        (FailureKind::Closed, Layer::Body) => {
            "look into the server's log: its process may have ended, or a proxy before it given up"
        }
        (FailureKind::Closed, _) => {
            "look into the server's log at this time, and try --http1.1: it hung up without an answer"
        }
        (FailureKind::NoSuchName, _) => {
            "check how the name is written and the search list in /etc/resolv.conf, or ask another \
             name server with --dns-servers"
        }
        (FailureKind::ServerMisbehaving, _) => {
            "look at the name server's log, or ask another one with --dns-servers"
        }
        (FailureKind::NoNameserver, _) => {
            "look into /etc/resolv.conf, or name a server with --dns-servers"
        }
        (FailureKind::SourceAddress, _) => {
            "see whether this host has the address or interface of --interface (ip addr)"
        }
        (FailureKind::Certificate, _) => {
            "look at the certificate above: its dates, names and issuer; a private authority is \
             named with --cacert"
        }
        (FailureKind::Alert, _) => {
            "look at what was offered (-v) and what the server takes: versions, its name, a client \
             certificate (--cert)"
        }
        (FailureKind::Protocol, Layer::Tls) => {
            "see whether the server speaks TLS at that port: http:// and https:// may be mixed up"
        }
        (FailureKind::Protocol, _) => {
            "see what listens at that port: it may speak another protocol, or another version \
             (--http1.1)"
        }
        (FailureKind::ProxyRefused, _) => {
            "look at the proxy's answer (-v), its rules and its credentials (-x)"
        }
        (FailureKind::TooManyRedirects, _) => {
            "look at the chain above for addresses that repeat: it may be a loop"
        }
        (FailureKind::TooLarge, _) => "look at what the server sends (-v): it may be hostile",
        (FailureKind::Invalid, Layer::Request) => {
            "look at the Location of its response (-v), and tell who runs the server"
        }
        (FailureKind::Invalid, _) => "correct the option or the URL that the message names",
        (FailureKind::ClientClosed, _) => "run it again: nothing is known to be wrong out there",
        _ => "look at the message, and at each step with -v",
    }
}
