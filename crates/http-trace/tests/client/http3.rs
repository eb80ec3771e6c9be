//! HTTP/3: what is recorded of it, and what it falls back to.

use std::{net::UdpSocket, time::Duration};

use http::{HeaderMap, Method, Request};
use http_body_util::StreamBody;
use http_trace::{
    HttpTrace, RequestBody, TracedClient,
    record::{
        AttemptOutcome, AttemptTransport, EarlyData, FailureKind, Layer, QuicCloseLayer,
        QuicClosedBy, QuicConnection, UdpConnection,
    },
    settings::{HeaderRecording, HttpVersions, RequestRecording, Settings},
};
use hyper::body::{Bytes, Frame};
use netglass_testing::{Http3, Http3Answer, Http3End, Http3Options, Http3Request, require};
use tokio_rustls::rustls::ServerConfig;

use crate::{
    servers::{builder, fetch},
    tls::{Authority, serve},
};

pub(crate) fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A server that gives each request the same answer, and a client that trusts it.
pub(crate) struct Pair {
    pub(crate) server: Http3,
    pub(crate) client: TracedClient,
}

impl Pair {
    pub(crate) fn new(
        answer: impl Fn(&Http3Request) -> Http3Answer + Send + Sync + 'static,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let authority = Authority::new("Test Root");
        let tls = authority.server(false, &[b"h3"]);
        let server = Http3::start(socket(), tls, &Http3Options::default(), answer);
        let client = client(&authority, change);
        Self { server, client }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.server.address())
    }
}

pub(crate) fn hello(_: &Http3Request) -> Http3Answer {
    Http3Answer::with_body("hello\n")
}

pub(crate) fn client(authority: &Authority, change: impl FnOnce(&mut Settings)) -> TracedClient {
    let built = builder(|settings| {
        settings.versions = HttpVersions::Http3Only;
        settings.tls.certificate_authorities = Some(authority.pem());
        let headers = HeaderRecording::Values;
        settings.recording.requests = Some(RequestRecording { headers, exclude: None });
        change(settings);
    });
    built.build().unwrap()
}

pub(crate) fn quic(trace: &HttpTrace) -> Vec<(&UdpConnection, &QuicConnection)> {
    trace.udp.iter().filter_map(|udp| Some((&**udp, udp.quic.as_deref()?))).collect()
}

#[tokio::test]
async fn a_request_has_its_connection_its_handshake_and_its_stream() {
    let pair = Pair::new(hello, |settings| settings.tls.keep_secrets = true);
    for _ in 0..2 {
        assert_eq!(fetch(&pair.client, &pair.url("/hello")).await.unwrap(), "hello\n");
    }
    let trace = pair.client.trace("two");
    let [first, second] = &trace.requests[..] else { panic!("two requests") };
    let [(udp, quic)] = quic(&trace)[..] else { panic!("one connection") };
    assert_eq!((first.stream, second.stream), (Some(0), Some(4)));
    assert_eq!((first.version.as_deref(), first.status), (Some("HTTP/3"), Some(200)));
    assert_eq!((first.connection, second.connection), (Some(udp.id), Some(udp.id)));
    assert!(!first.uses[0].reused && second.uses[0].reused);
    assert_eq!(first.response.as_ref().unwrap().body_bytes, 6);

    assert_eq!(udp.addresses.destination, pair.server.address());
    assert!(udp.addresses.source.is_some_and(|source| source.port() != 0));
    assert!(!udp.to_nameserver && udp.closed_at.is_none() && trace.tcp.is_empty());
    let operations = udp.operations.as_ref().unwrap();
    let bytes: u64 = operations.list.iter().map(|operation| operation.bytes).sum();
    assert_eq!(bytes, udp.sent_bytes + udp.received_bytes);

    assert_eq!((quic.version, quic.requests, quic.retried), (1, 2, false));
    assert_eq!(quic.early_data, EarlyData::NotOffered);
    assert_eq!(quic.source_connection_id.len(), 16);
    assert_eq!(quic.original_destination_connection_id.len(), 40);
    let chosen = quic.destination_connection_id.as_ref().unwrap();
    assert!(*chosen != quic.original_destination_connection_id && !chosen.is_empty());
    assert!(!quic.settings.is_empty() && quic.go_away.is_none() && quic.close.is_none());
    let statistics = quic.statistics.as_ref().unwrap();
    assert!(statistics.rtt_us > 0 && statistics.congestion_window > 0);
    assert_eq!(statistics.received_bytes, udp.received_bytes);

    let dial = trace.dial(first.dial.unwrap()).unwrap();
    let [attempt] = &dial.attempts[..] else { panic!("one attempt") };
    assert_eq!(attempt.outcome, AttemptOutcome::Won);
    assert_eq!((attempt.transport, attempt.connection), (AttemptTransport::Quic, Some(udp.id)));
    let tunnel = trace.tls_tunnel(first.tls.unwrap()).unwrap();
    assert_eq!((tunnel.connection, trace.tls.len()), (Some(udp.id), 1));
    assert_eq!(tunnel.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tunnel.protocol.as_deref(), Some("h3"));
    assert!(tunnel.group.is_some() && tunnel.cipher_suite_name.is_some() && !tunnel.resumed);
    assert_eq!(tunnel.certificates[0].names, ["127.0.0.1"]);
    assert!(pair.client.tls_secrets().unwrap().0.contains("CLIENT_TRAFFIC_SECRET_0"));

    let phases = &first.phases;
    let times = [
        Some(phases.queued_at),
        phases.quic_began_at,
        phases.quic_ended_at,
        phases.connection_at,
        phases.request_began_at,
        phases.request_ended_at,
        phases.first_byte_at,
        phases.headers_at,
        phases.ended_at,
    ];
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
    assert_eq!((phases.connect_began_at, phases.tls_began_at), (None, None));
}

#[tokio::test]
async fn bodies_trailers_and_informational_responses_go_both_ways() {
    let answer = |request: &Http3Request| Http3Answer {
        informational: vec![103, 102],
        // One that is empty is no end.
        body: vec![request.body.clone(), Vec::new(), b"!".to_vec()],
        trailers: vec![("x-sum".to_owned(), "42".to_owned())],
        ..Http3Answer::default()
    };
    let pair = Pair::new(answer, |_| {});
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sent", "7".parse().unwrap());
    let sent = vec![7; 300_000];
    let frames = [Frame::data(Bytes::from(sent.clone())), Frame::trailers(trailers)];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, std::io::Error>));
    let request = Request::post(pair.url("/echo"))
        .header("Connection", "keep-alive")
        .header("Host", "web.test")
        .body(RequestBody::stream(StreamBody::new(frames)))
        .unwrap();
    let response = pair.client.execute(request).await.unwrap();
    let body = response.into_body().bytes(1 << 20).await.unwrap();
    assert!(body.len() == sent.len() + 1 && body.ends_with(b"\x07!"));
    let [received] = &pair.server.requests()[..] else { panic!("one request") };
    assert_eq!((received.head.method(), received.body.len()), (&Method::POST, sent.len()));
    assert_eq!(received.head.uri().host(), Some("web.test"));
    assert!(received.head.headers().get("connection").is_none());
    assert_eq!(received.trailers.as_ref().unwrap()["x-sent"], "7");
    let trace = pair.client.trace("echo");
    let request = &trace.requests[0];
    let statuses: Vec<_> = request.informational.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [103, 102]);
    assert_eq!((request.request.body_bytes, request.error.as_ref()), (sent.len() as u64, None));
    let response = request.response.as_ref().unwrap();
    assert_eq!(response.body_bytes, sent.len() as u64 + 1);
    assert_eq!(
        response.trailers.iter().next().and_then(|header| header.value),
        Some("42".to_owned())
    );
}

#[tokio::test]
async fn a_body_that_is_given_whole_says_how_long_it_is() {
    let pair = Pair::new(hello, |_| {});
    for body in ["some", ""] {
        let body = RequestBody::from(body.to_owned());
        let request = Request::post(pair.url("/")).body(body).unwrap();
        pair.client.execute(request).await.unwrap().into_body().bytes(10).await.unwrap();
    }
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    let lengths: Vec<_> = (pair.server.requests().iter())
        .map(|request| request.head.headers().get("content-length").cloned())
        .collect();
    assert_eq!(lengths, [Some("4".parse().unwrap()), Some("0".parse().unwrap()), None]);
}

#[tokio::test]
async fn many_requests_at_once_share_a_connection() {
    let pair = Pair::new(|request| Http3Answer::with_body(request.head.uri().path()), |_| {});
    let urls: Vec<String> = (0..50).map(|number| pair.url(&format!("/{number}"))).collect();
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    let all = urls.iter().map(|url| fetch(&pair.client, url));
    let all = futures_util::future::try_join_all(all).await.unwrap();
    assert!(all.iter().enumerate().all(|(number, body)| *body == format!("/{number}")));
    assert_eq!(pair.server.connections(), 1);
    let trace = pair.client.trace("many");
    let streams: std::collections::HashSet<_> =
        trace.requests.iter().map(|request| request.stream).collect();
    assert_eq!(streams.len(), 51);
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_to_the_server_and_recorded() {
    let pair = Pair::new(hello, |_| {});
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    pair.client.close_connections().await;
    let trace = pair.client.close("closed");
    let [(udp, quic)] = quic(&trace)[..] else { panic!("one connection") };
    let close = quic.close.as_ref().unwrap();
    assert_eq!((close.by, close.layer), (QuicClosedBy::Client, Some(QuicCloseLayer::Application)));
    assert_eq!((close.code, udp.closed_at.is_some()), (Some(0x100), true));
}

#[tokio::test]
async fn a_server_that_announces_its_end_gets_no_further_request() {
    let pair = Pair::new(|request| hello(request).ends(Http3End::GoAway), |_| {});
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    while quic(&pair.client.trace("waiting"))[0].1.go_away.is_none() {
        tokio::task::yield_now().await;
    }
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    assert_eq!(pair.server.connections(), 2);
    let trace = pair.client.trace("gone");
    assert!(quic(&trace)[0].1.go_away.is_some());
    assert_ne!(trace.requests[0].connection, trace.requests[1].connection);
}

#[tokio::test]
async fn a_server_may_have_us_prove_our_address_first() {
    let authority = Authority::new("Test Root");
    let options = Http3Options { retry: true, ..Http3Options::default() };
    let server = Http3::start(socket(), authority.server(false, &[b"h3"]), &options, hello);
    let client = client(&authority, |_| {});
    fetch(&client, &format!("https://{}/", server.address())).await.unwrap();
    let trace = client.trace("retried");
    let [(_, quic)] = quic(&trace)[..] else { panic!("one connection") };
    assert!(quic.retried && quic.destination_connection_id.is_some());
}

#[tokio::test]
async fn services_that_are_named_elsewhere_are_recorded() {
    let services = r#"h3=":8443"; ma=60; persist=1, h2="alt.test:443""#;
    let answer = move |request: &Http3Request| hello(request).header("alt-svc", services);
    let pair = Pair::new(answer, |_| {});
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    let trace = pair.client.trace("services");
    let request = &trace.requests[0];
    assert_eq!(request.alternative_services.as_deref(), Some(services));
    let read = &request.alternatives.as_ref().unwrap().services;
    assert_eq!((read[0].protocol.as_str(), read[0].port, read[0].max_age), ("h3", 8443, 60));
    assert!(read[0].persist && read[1].host.as_deref() == Some("alt.test"));
}

#[tokio::test]
async fn tcp_is_used_where_quic_does_not_connect_and_both_are_recorded() {
    let authority = Authority::new("Test Root");
    let server = serve(authority.server(false, &[b"h2", b"http/1.1"])).await;
    // One that is silent is not waited for longer than one that refuses.
    let silent = UdpSocket::bind(server);
    for silent in [Some(silent.unwrap()), None] {
        let is_silent = silent.is_some();
        let client = client(&authority, |settings| {
            settings.versions = HttpVersions::PreferHttp3;
        });
        assert_eq!(fetch(&client, &format!("https://{server}/")).await.unwrap(), "hello\n");
        let trace = client.trace("fallback");
        let request = &trace.requests[0];
        assert_eq!(request.version.as_deref(), Some("HTTP/2"));
        let dial = trace.dial(request.dial.unwrap()).unwrap();
        let [over_quic, over_tcp] = &dial.attempts[..] else { panic!("two attempts") };
        assert_eq!(over_quic.transport, AttemptTransport::Quic);
        assert_eq!((over_tcp.transport, over_tcp.fallback), (AttemptTransport::Tcp, false));
        assert_eq!(over_tcp.outcome, AttemptOutcome::Won);
        if is_silent {
            assert!(matches!(over_quic.outcome, AttemptOutcome::Abandoned { .. }));
            assert!(over_quic.ended_at.unwrap() > over_tcp.began_at, "it was still tried");
            let cost = over_tcp.began_at.since(over_quic.began_at);
            assert_eq!(dial.fallback_cost.map(Duration::from_nanos), Some(cost));
        } else {
            assert!(matches!(&over_quic.outcome, AttemptOutcome::Failed { error }
                if error.kind == FailureKind::Refused));
        }
        let [(udp, quic)] = quic(&trace)[..] else { panic!("one connection") };
        assert!(quic.error.is_some() && udp.closed_at.is_some());
        let phases = &request.phases;
        let times = [phases.quic_began_at, phases.connect_began_at, phases.tls_began_at];
        assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
        drop(silent);
    }
}

#[tokio::test]
async fn http3_is_used_where_it_is_preferred_and_there() {
    let pair = Pair::new(hello, |settings| settings.versions = HttpVersions::PreferHttp3);
    fetch(&pair.client, &pair.url("/")).await.unwrap();
    let trace = pair.client.trace("preferred");
    assert_eq!(trace.requests[0].version.as_deref(), Some("HTTP/3"));
    assert!(trace.tcp.is_empty());
}

#[tokio::test]
async fn names_and_the_source_address_are_as_for_tcp() {
    let authority = Authority::new("Test Root");
    let tls = authority.server(false, &[b"h3"]);
    let server = Http3::start(socket(), tls, &Http3Options::default(), hello);
    let port = server.address().port();
    let client = client(&authority, |settings| {
        settings.source_ip = Some("127.0.0.9".parse().unwrap());
        settings.tls.accept_invalid_certificates = true;
        let inner = ("inner.test".to_owned(), port);
        settings.dns.overrides.insert(inner.clone(), vec!["127.0.0.1".parse().unwrap()]);
        settings.connect_to.insert(("web.test".to_owned(), 443), inner);
    });
    fetch(&client, "https://web.test/").await.unwrap();
    let trace = client.trace("elsewhere");
    let [(udp, _)] = quic(&trace)[..] else { panic!("one connection") };
    assert_eq!(udp.addresses.source.unwrap().ip().to_string(), "127.0.0.9");
    assert_eq!(trace.tls[0].server_name.as_deref(), Some("web.test"));
    assert_eq!(server.requests()[0].head.uri().host(), Some("web.test"));
    assert!(trace.dials[0].lookup.is_some());
}

#[tokio::test]
async fn a_server_of_ipv6_is_reached_through_the_device_that_is_named() {
    require!(root);
    let authority = Authority::new("Test Root");
    let tls = authority.server(false, &[b"h3"]);
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let server = Http3::start(socket, tls, &Http3Options::default(), hello);
    let through = |device: &str| {
        client(&authority, |settings| {
            settings.interface = Some(device.to_owned());
            settings.tls.accept_invalid_certificates = true;
        })
    };
    let url = format!("https://{}/", server.address());
    let client = through("lo");
    assert_eq!(fetch(&client, &url).await.unwrap(), "hello\n");
    let trace = client.close("IPv6");
    let [(udp, _)] = quic(&trace)[..] else { panic!("one connection") };
    assert_eq!(udp.addresses.destination, server.address());
    assert_eq!(udp.addresses.source.unwrap().ip(), server.address().ip());

    let nowhere = fetch(&through("none0"), &url).await.unwrap_err();
    assert_eq!((nowhere.layer(), server.connections()), (Layer::Connect, 1));
}

/// A server's settings that take early data, if they are to.
fn early(tls: &ServerConfig, takes: bool) -> ServerConfig {
    let mut tls = tls.clone();
    tls.max_early_data_size = if takes { u32::MAX } else { 0 };
    tls
}

#[tokio::test]
async fn early_data_is_sent_where_it_is_asked_for_and_may_be_repeated() {
    let authority = Authority::new("Test Root");
    // Clones share the sessions that they remember.
    let tls = authority.server(false, &[b"h3"]);
    let server = Http3::start(socket(), early(&tls, true), &Http3Options::default(), hello);
    let client = client(&authority, |settings| {
        settings.tls.early_data = true;
        settings.tls.session_cache = 8;
    });
    let url = format!("https://{}/", server.address());
    let get = async |expected: EarlyData| {
        assert_eq!(fetch(&client, &url).await.unwrap(), "hello\n");
        let trace = client.trace("early");
        let (_, last) = *quic(&trace).last().unwrap();
        assert_eq!(last.early_data, expected);
        assert!(last.handshake_ended_at.is_some());
        let tunnel = trace.tls.last().unwrap();
        assert_eq!(
            (tunnel.resumed, tunnel.error.as_ref()),
            (expected != EarlyData::NotOffered, None)
        );
        client.close_connections().await;
        trace
    };
    get(EarlyData::NotOffered).await;
    let trace = get(EarlyData::Accepted).await;
    let request = trace.requests.last().unwrap();
    let (_, last) = *quic(&trace).last().unwrap();
    assert!(request.phases.request_began_at < last.handshake_ended_at, "it was sent before");

    // A body may have an effect: it waits for the handshake.
    let post = Request::post(&url).body(RequestBody::from("body".to_owned())).unwrap();
    client.execute(post).await.unwrap().into_body().bytes(10).await.unwrap();
    let trace = client.trace("late");
    let request = trace.requests.last().unwrap();
    let (_, last) = *quic(&trace).last().unwrap();
    assert_eq!(last.early_data, EarlyData::Accepted);
    assert!(request.phases.request_began_at > last.handshake_ended_at, "it was sent after");
    client.close_connections().await;

    server.set_tls(early(&tls, false));
    let trace = get(EarlyData::Rejected).await;
    let request = trace.requests.last().unwrap();
    assert_eq!(request.uses.len(), 2, "what was not looked at is sent again");
    assert_eq!(request.uses[0].connection, request.uses[1].connection);
    assert_eq!(server.connections(), 4);
}
