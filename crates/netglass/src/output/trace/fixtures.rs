//! Traces for tests, as a client records them.

use std::{net::SocketAddr, sync::Arc};

use http_trace::{
    HttpTrace,
    clock::Moment,
    record::{
        AddressTuple, AlternativeService, AlternativeServices, Attempt, AttemptOutcome,
        AttemptTransport, Certificate, ConnectionUse, Dial, DialOutcome, DnsExchange, DnsQuery,
        DnsQuestion, DnsTransport, Dropped, EarlyData, Failure, FailureKind, Header, Headers,
        Http3GoAway, HttpRequest, Id, Layer, Lookup, LookupSource, Message, Phases, QuicClose,
        QuicCloseLayer, QuicClosedBy, QuicConnection, QuicStatistics, SCHEMA_VERSION,
        TcpConnection, TcpInformation, TlsRole, TlsTunnel, UdpConnection, Via,
    },
};

const REQUEST: Id = Id(1);
const DIAL: Id = Id(2);
const CONNECTION: Id = Id(3);
const LOSER: Id = Id(4);
const TUNNEL: Id = Id(5);
const EXCHANGE: Id = Id(6);

pub(super) fn at(milliseconds: u64) -> Moment {
    Moment(1_000_000_000 + milliseconds * 1_000_000)
}

fn headers(headers: &[(&str, &str)]) -> Headers {
    let header = |&(name, value): &(&str, &str)| Header {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        length: None,
        redacted: false,
    };
    headers.iter().map(header).collect()
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn attempt(to: &str, began: u64, ended: u64, outcome: AttemptOutcome) -> Attempt {
    Attempt {
        connection: None,
        transport: AttemptTransport::Tcp,
        address: address(to),
        fallback: false,
        began_at: at(began),
        ended_at: Some(at(ended)),
        outcome,
    }
}

/// A trace of nothing.
pub(super) fn nothing() -> HttpTrace {
    HttpTrace {
        schema: SCHEMA_VERSION,
        description: String::new(),
        session: "3a1f0b52-7c1e-4e0e-9d6c-0a5a3c8b7f11".to_owned(),
        began_at: at(0),
        began_at_wall: "2026-01-31T14:00:00Z".parse().unwrap(),
        ended_at: at(400),
        dials: Vec::new(),
        tcp: Vec::new(),
        udp: Vec::new(),
        dns: Vec::new(),
        tls: Vec::new(),
        connects: Vec::new(),
        requests: Vec::new(),
        captures: Vec::new(),
        dropped: Dropped::default(),
        missing: Vec::new(),
    }
}

/// A request for a page that was answered, by the second address that was tried.
pub(super) fn page() -> HttpTrace {
    HttpTrace {
        dials: vec![Arc::new(dial())],
        tcp: vec![Arc::new(connection())],
        dns: vec![Arc::new(exchange())],
        tls: vec![Arc::new(tunnel())],
        requests: vec![Arc::new(request())],
        ..nothing()
    }
}

fn request() -> HttpRequest {
    HttpRequest {
        id: REQUEST,
        connection: Some(CONNECTION),
        uses: vec![ConnectionUse {
            connection: Some(CONNECTION),
            at: at(350),
            reused: false,
            idle: None,
            error: None,
        }],
        dial: Some(DIAL),
        tls: Some(TUNNEL),
        proxy_tls: None,
        proxy_connect: None,
        made_tunnels: true,
        proxy: None,
        via: None,
        url: "https://example.org/page?a=1&b=two".into(),
        method: "GET".into(),
        version: Some("HTTP/2".into()),
        stream: Some(1),
        request: Message { headers: headers(&[("Cookie", "a=1; b=2")]), ..Message::default() },
        added_headers: headers(&[("User-Agent", "netglass/0.1.0")]),
        status: Some(200),
        response: Some(Message {
            headers: headers(&[
                ("Content-Type", "text/html"),
                ("Set-Cookie", "session=abc; Path=/; HttpOnly; Secure"),
            ]),
            trailers: Headers::default(),
            body_bytes: 12_595,
            wire_body_bytes: 3_000,
        }),
        informational: Vec::new(),
        decoded: Some("gzip".to_owned()),
        phases: Phases {
            queued_at: at(0),
            connection_at: Some(at(350)),
            lookup_began_at: Some(at(0)),
            lookup_ended_at: Some(at(12)),
            connect_began_at: Some(at(12)),
            connect_ended_at: Some(at(318)),
            quic_began_at: None,
            quic_ended_at: None,
            tls_began_at: Some(at(318)),
            tls_ended_at: Some(at(350)),
            request_began_at: Some(at(350)),
            request_ended_at: Some(at(351)),
            first_byte_at: Some(at(390)),
            headers_at: Some(at(390)),
            ended_at: Some(at(400)),
        },
        error: None,
        body_error: None,
        redirect_error: None,
        reset: None,
        alternative_services: None,
        alternatives: None,
    }
}

fn dial() -> Dial {
    let abandoned = AttemptOutcome::Abandoned { reason: "another was faster".to_owned() };
    let mut second = attempt("192.0.2.1:443", 312, 318, AttemptOutcome::Won);
    second.fallback = true;
    second.connection = Some(CONNECTION);
    let mut first = attempt("[2001:db8::1]:443", 12, 318, abandoned);
    first.connection = Some(LOSER);
    Dial {
        id: DIAL,
        request: Some(REQUEST),
        destination: "example.org:443".to_owned(),
        source_ip: None,
        began_at: at(0),
        ended_at: Some(at(318)),
        outcome: DialOutcome::Connected { connection: Some(CONNECTION) },
        lookup: Some(Lookup {
            name: "example.org".to_owned(),
            began_at: at(0),
            ended_at: Some(at(12)),
            source: LookupSource::Dns,
            steps: Vec::new(),
            canonical_name: None,
            addresses: vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            error: None,
        }),
        resolver_dials: Vec::new(),
        skipped_nameservers: Vec::new(),
        attempts: vec![first, second],
        fallback_cost: Some(300_000_000),
    }
}

fn connection() -> TcpConnection {
    TcpConnection {
        id: CONNECTION,
        dial: Some(DIAL),
        to_nameserver: false,
        began_at: at(312),
        ended_at: Some(at(318)),
        connected: true,
        error: None,
        closed_at: None,
        addresses: AddressTuple {
            source: Some(address("192.0.2.9:50000")),
            destination: address("192.0.2.1:443"),
        },
        from_earlier_trace: false,
        requests: 1,
        sent_bytes: 700,
        received_bytes: 6_000,
        operations: None,
        information_at_connect: Some(Box::new(TcpInformation {
            rtt_us: 5_900,
            send_mss: 1_448,
            ..TcpInformation::default()
        })),
        information_at_close: None,
        conntrack: None,
        http2: None,
    }
}

fn exchange() -> DnsExchange {
    DnsExchange {
        id: EXCHANGE,
        dial: Some(DIAL),
        connection: None,
        transport: DnsTransport::Udp,
        nameserver: address("192.0.2.53:53"),
        began_at: at(0),
        ended_at: Some(at(12)),
        queries: vec![DnsQuery {
            sent_at: at(0),
            id: 7,
            recursion_desired: true,
            truncated: false,
            size: 40,
            questions: vec![DnsQuestion {
                name: "example.org.".to_owned(),
                record_type: 28,
                record_type_name: "AAAA".to_owned(),
                class: 1,
            }],
            udp_payload_size: Some(1232),
        }],
        replies: Vec::new(),
        dropped_replies: 0,
        error: None,
    }
}

fn tunnel() -> TlsTunnel {
    TlsTunnel {
        id: TUNNEL,
        connection: Some(CONNECTION),
        request: Some(REQUEST),
        role: TlsRole::Server,
        began_at: at(318),
        ended_at: Some(at(350)),
        error: None,
        server_name: Some("example.org".to_owned()),
        offered_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        protocol: Some("h2".to_owned()),
        version: Some("TLSv1.3".to_owned()),
        cipher_suite: Some(0x1302),
        cipher_suite_name: Some("TLS13_AES_256_GCM_SHA384".to_owned()),
        group: Some("X25519".to_owned()),
        resumed: false,
        certificates: vec![certificate()],
        refused_certificate: None,
        alert_received: None,
        alert_sent: None,
        client_certificate_requested: false,
        ocsp_response: None,
    }
}

pub(super) fn certificate() -> Certificate {
    Certificate {
        subject: "CN=example.org".to_owned(),
        issuer: "CN=Example CA".to_owned(),
        serial: "01".to_owned(),
        not_before: Some("2025-12-01T00:00:00Z".parse().unwrap()),
        not_after: Some("2026-03-14T00:00:00Z".parse().unwrap()),
        is_ca: false,
        names: vec!["example.org".to_owned(), "www.example.org".to_owned()],
        signature_algorithm: "ecdsa-with-SHA256".to_owned(),
        key_algorithm: "EC".to_owned(),
        key_bits: Some(256),
        sha256: "ab".repeat(32),
        size: 500,
        malformed: None,
    }
}

/// The same request, redirected from another.
pub(super) fn redirected() -> HttpTrace {
    let mut trace = page();
    let mut first = request();
    first.id = Id(10);
    first.url = "http://example.org/".into();
    first.status = Some(301);
    (first.dial, first.tls, first.connection) = (None, None, None);
    first.version = Some("HTTP/1.1".into());
    first.response = Some(Message {
        headers: headers(&[("Location", "https://example.org/page?a=1&b=two")]),
        ..Message::default()
    });
    first.decoded = None;
    first.phases = Phases {
        queued_at: at(0),
        connection_at: Some(at(0)),
        request_began_at: Some(at(0)),
        request_ended_at: Some(at(1)),
        first_byte_at: Some(at(20)),
        headers_at: Some(at(20)),
        ended_at: Some(at(21)),
        ..Phases::default()
    };
    let second = Arc::make_mut(&mut trace.requests[0]);
    second.via = Some(Via::Redirect { from: Some(Id(10)), hop: 1 });
    trace.requests.insert(0, Arc::new(first));
    trace
}

/// A request that failed.
pub(super) fn failed(layer: Layer, kind: FailureKind, message: &str) -> HttpTrace {
    let mut trace = page();
    let failure = Failure { layer, kind, message: message.to_owned(), cause: None };
    let request = Arc::make_mut(&mut trace.requests[0]);
    if layer == Layer::Body {
        request.body_error = Some(failure);
        return trace;
    }
    request.error = Some(failure);
    (request.status, request.response, request.version) = (None, None, None);
    request.phases.first_byte_at = None;
    request.phases.headers_at = None;
    trace
}

/// A connection that was refused.
pub(super) fn refused() -> HttpTrace {
    let message = "cannot connect to 192.0.2.1:443: Connection refused (os error 111)";
    let mut trace = failed(Layer::Connect, FailureKind::Refused, message);
    let failure = trace.requests[0].error.clone().unwrap();
    let mut dial = dial();
    dial.outcome = DialOutcome::Failed { error: failure.clone() };
    dial.attempts =
        vec![attempt("192.0.2.1:443", 12, 13, AttemptOutcome::Failed { error: failure })];
    dial.fallback_cost = None;
    trace.dials = vec![Arc::new(dial)];
    (trace.tcp, trace.tls) = (Vec::new(), Vec::new());
    let request = Arc::make_mut(&mut trace.requests[0]);
    (request.tls, request.connection) = (None, None);
    request.uses.clear();
    request.phases = Phases {
        queued_at: at(0),
        lookup_began_at: Some(at(0)),
        lookup_ended_at: Some(at(12)),
        connect_began_at: Some(at(12)),
        ended_at: Some(at(13)),
        ..Phases::default()
    };
    trace
}

/// The same page over HTTP/3; of two addresses, the second one answers.
pub(super) fn over_quic() -> HttpTrace {
    let mut trace = page();
    let mut dial = dial();
    for attempt in &mut dial.attempts {
        attempt.transport = AttemptTransport::Quic;
    }
    trace.dials = vec![Arc::new(dial)];
    let TcpConnection { id, dial, began_at, addresses, .. } = connection();
    trace.tcp = Vec::new();
    trace.udp = vec![Arc::new(UdpConnection {
        id,
        dial,
        to_nameserver: false,
        began_at,
        closed_at: Some(at(400)),
        addresses,
        sent_bytes: 3_100,
        received_bytes: 9_000,
        operations: None,
        error: None,
        conntrack: None,
        quic: Some(Box::new(quic())),
    })];
    let mut tunnel = tunnel();
    tunnel.protocol = Some("h3".to_owned());
    tunnel.offered_protocols = vec!["h3".to_owned()];
    (tunnel.began_at, tunnel.ended_at) = (at(312), Some(at(318)));
    trace.tls = vec![Arc::new(tunnel)];
    let request = Arc::make_mut(&mut trace.requests[0]);
    request.version = Some("HTTP/3".into());
    request.stream = Some(0);
    request.alternatives = Some(Box::new(AlternativeServices {
        services: vec![AlternativeService {
            protocol: "h3".to_owned(),
            host: None,
            port: 443,
            max_age: 3600,
            persist: true,
        }],
        malformed: Some("a service does not begin with a protocol".to_owned()),
        ..AlternativeServices::default()
    }));
    let phases = &mut request.phases;
    (phases.quic_began_at, phases.quic_ended_at) = (Some(at(12)), Some(at(318)));
    (phases.connect_began_at, phases.connect_ended_at) = (None, None);
    (phases.tls_began_at, phases.tls_ended_at) = (None, None);
    (phases.connection_at, phases.request_began_at) = (Some(at(318)), Some(at(318)));
    phases.request_ended_at = Some(at(319));
    trace
}

fn quic() -> QuicConnection {
    QuicConnection {
        version: 1,
        offered_versions: Vec::new(),
        retried: true,
        handshake_began_at: at(312),
        handshake_ended_at: Some(at(318)),
        error: None,
        early_data: EarlyData::Accepted,
        source_connection_id: "0102030405060708".to_owned(),
        original_destination_connection_id: "ab".repeat(20),
        destination_connection_id: Some("1112131415161718".to_owned()),
        from_earlier_trace: false,
        requests: 1,
        settings: vec![(6, 16_384)],
        go_away: Some(Http3GoAway { at: at(395), stream: 4 }),
        statistics: Some(QuicStatistics {
            at: at(400),
            rtt_us: 6_100,
            minimum_rtt_us: 5_900,
            congestion_window: 12_000,
            sent_datagrams: 7,
            received_datagrams: 9,
            path_mtu: 1_452,
            ..QuicStatistics::default()
        }),
        close: Some(QuicClose {
            at: at(400),
            by: QuicClosedBy::Server,
            layer: Some(QuicCloseLayer::Application),
            code: Some(256),
            reason: "done".to_owned(),
        }),
    }
}
