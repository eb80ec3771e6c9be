//! How HTTP/3 fails: in which layer, of what kind, and what is known of it then.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http_trace::{
    HttpTrace, ProxyChoice, TracedClient,
    record::{FailureKind, Layer, QuicClosedBy, ResetBy},
    settings::HttpVersions,
};
use netglass_testing::{Http3, Http3Answer, Http3End, Http3Options, Http3Request, Refusing};
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};

use crate::{
    http3::{Pair, client, hello, quic, socket},
    servers::{answering, builder, fetch},
    tls::Authority,
};

/// The failure of a request to a server, and the trace of it.
async fn failure(client: &TracedClient, url: &str) -> (Layer, FailureKind, HttpTrace) {
    let error = fetch(client, url).await.unwrap_err();
    let trace = client.trace("failed");
    let request = trace.requests.last().unwrap();
    let recorded = request.error.as_ref().or(request.body_error.as_ref()).unwrap();
    assert_eq!((recorded.layer, recorded.kind), (error.layer(), error.kind()), "{error}");
    assert!(request.phases.ended_at.is_some(), "{request:?}");
    (error.layer(), error.kind(), trace)
}

#[tokio::test]
async fn an_address_at_which_nobody_listens_is_told_at_once_and_by_whom() {
    let refusing = Refusing::udp();
    let client = client(&Authority::new("Test Root"), |settings| {
        settings.timeouts.connect = Some(Duration::from_secs(15));
    });
    let began = std::time::Instant::now();
    let (layer, kind, trace) = failure(&client, &format!("https://{}/", refusing.address())).await;
    assert_eq!((layer, kind), (Layer::Connect, FailureKind::Refused));
    assert!(began.elapsed() < Duration::from_secs(10));
    let [(udp, quic)] = quic(&trace)[..] else { panic!("one connection") };
    let cause = quic.error.as_ref().unwrap().cause.as_ref().unwrap();
    assert_eq!((cause.icmp_type, cause.icmp_code), (Some(3), Some(3)));
    assert!(udp.closed_at.is_some() && trace.tls[0].error.is_some());
}

#[tokio::test]
async fn a_request_that_the_server_rejects_is_sent_again() {
    let count = AtomicUsize::new(0);
    let answer = move |_: &Http3Request| match count.fetch_add(1, Relaxed) {
        1 => Http3Answer::default().ends(Http3End::Reset(REJECTED)),
        number => Http3Answer::with_body(number.to_string()),
    };
    let pair = Pair::new(answer, |_| {});
    assert_eq!(fetch(&pair.client, &pair.url("/")).await.unwrap(), "0");
    assert_eq!(fetch(&pair.client, &pair.url("/")).await.unwrap(), "2");
    let trace = pair.client.close("rejected");
    assert_eq!((quic(&trace).len(), trace.requests[1].uses.len()), (1, 2));
    assert!(trace.requests[1].uses[0].error.is_some());
}

#[tokio::test]
async fn a_server_that_is_silent_ends_with_the_timeout() {
    let silent = socket();
    let client = client(&Authority::new("Test Root"), |settings| {
        settings.timeouts.connect = Some(Duration::from_millis(300));
    });
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let (layer, kind, trace) = failure(&client, &url).await;
    assert_eq!((layer, kind), (Layer::Connect, FailureKind::Timeout));
    let [(udp, quic)] = quic(&trace)[..] else { panic!("one connection") };
    assert_eq!(quic.error.as_ref().unwrap().kind, FailureKind::Timeout);
    assert!(udp.closed_at.is_some() && trace.tls[0].ended_at.is_some());
}

#[tokio::test]
async fn a_server_of_other_versions_names_them() {
    let authority = Authority::new("Test Root");
    let options =
        Http3Options { versions: Some(vec![0xff00_001d, 0xff00_0020]), ..Http3Options::default() };
    let server = Http3::start(socket(), authority.server(false, &[b"h3"]), &options, hello);
    let client = client(&authority, |_| {});
    let url = format!("https://{}/", server.address());
    let (layer, kind, trace) = failure(&client, &url).await;
    assert_eq!((layer, kind), (Layer::Connect, FailureKind::Protocol));
    let [(_, quic)] = quic(&trace)[..] else { panic!("one connection") };
    assert!(quic.offered_versions.contains(&0xff00_001d), "{quic:?}");
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_shown_with_its_chain() {
    let authority = Authority::new("Test Root");
    for (expired, trusted, refused) in [(true, true, 0), (false, false, 1)] {
        let tls = authority.server(expired, &[b"h3"]);
        let server = Http3::start(socket(), tls, &Http3Options::default(), hello);
        let other = Authority::new("Other Root");
        let client = client(if trusted { &authority } else { &other }, |_| {});
        let url = format!("https://{}/", server.address());
        let (layer, kind, trace) = failure(&client, &url).await;
        assert_eq!((layer, kind), (Layer::Tls, FailureKind::Certificate));
        let tunnel = &trace.tls[0];
        assert_eq!((tunnel.certificates.len(), tunnel.refused_certificate), (2, Some(refused)));
        assert!(tunnel.alert_sent.is_some() && tunnel.connection == Some(trace.udp[0].id));
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_says_so_by_an_alert() {
    let authority = Authority::new("Test Root");
    let tls = authority.server(false, &[b"hq-interop"]);
    let server = Http3::start(socket(), tls, &Http3Options::default(), hello);
    let client = client(&authority, |_| {});
    let url = format!("https://{}/", server.address());
    let (layer, kind, trace) = failure(&client, &url).await;
    assert_eq!((layer, kind), (Layer::Tls, FailureKind::Alert));
    assert_eq!(trace.tls[0].alert_received.as_deref(), Some("NoApplicationProtocol"));
    let message = &trace.requests[0].error.as_ref().unwrap().message;
    assert!(message.contains("does not speak HTTP/3"), "{message}");
}

const REJECTED: u64 = 0x10b;
const INTERNAL: u64 = 0x102;

fn ends() -> [(Http3End, FailureKind); 2] {
    let close = Http3End::Close(INTERNAL, "out of order".to_owned());
    [(Http3End::Reset(REJECTED), FailureKind::Reset), (close, FailureKind::Closed)]
}

/// Asserts that a trace tells how the server ended a stream, or the connection.
async fn assert_ended(pair: &Pair, kind: FailureKind) {
    if kind == FailureKind::Reset {
        let reset = pair.client.trace("reset").requests[0].reset.unwrap();
        assert_eq!((reset.by, reset.code), (ResetBy::Server, REJECTED));
        return;
    }
    while quic(&pair.client.trace("waiting"))[0].1.close.is_none() {
        tokio::task::yield_now().await;
    }
    let trace = pair.client.trace("closed");
    let close = quic(&trace)[0].1.close.clone().unwrap();
    assert_eq!((close.by, close.code), (QuicClosedBy::Server, Some(INTERNAL)));
    assert_eq!(close.reason, "out of order");
}

#[tokio::test]
async fn streams_and_connections_that_end_before_the_response_are_told_from_one_another() {
    for (end, kind) in ends() {
        let pair = Pair::new(move |_| Http3Answer::default().ends(end.clone()), |_| {});
        let (layer, found, _) = failure(&pair.client, &pair.url("/")).await;
        assert_eq!((layer, found), (Layer::Request, kind));
        assert_ended(&pair, kind).await;
    }
}

#[tokio::test]
async fn streams_and_connections_that_end_within_a_body_are_told_from_one_another() {
    for (end, kind) in ends() {
        let answer = move |_: &Http3Request| Http3Answer::with_body("part").ends(end.clone());
        let pair = Pair::new(answer, |_| {});
        let mut body = pair.client.get(&pair.url("/")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "part");
        pair.server.proceed();
        let error = body.chunk().await.unwrap_err();
        assert_eq!((error.layer(), error.kind()), (Layer::Body, kind), "{error}");
        assert_ended(&pair, kind).await;
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_the_server_told() {
    let answer = |_: &Http3Request| Http3Answer::with_body("part").ends(Http3End::Never);
    let pair = Pair::new(answer, |settings| {
        settings.timeouts.request = Some(Duration::from_millis(1500));
    });
    let (layer, kind, trace) = failure(&pair.client, &pair.url("/")).await;
    assert_eq!((layer, kind), (Layer::Body, FailureKind::Timeout));
    let response = trace.requests[0].response.as_ref().unwrap();
    assert_eq!(response.body_bytes, 4);
    let reset = pair.client.trace("given up").requests[0].reset.unwrap();
    assert_eq!((reset.by, reset.code), (ResetBy::Client, 0x10c));
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_an_error() {
    for (length, kind) in [("9", FailureKind::Closed), ("3", FailureKind::Protocol)] {
        let answer = move |request: &Http3Request| hello(request).header("content-length", length);
        let pair = Pair::new(answer, |_| {});
        let (layer, found, _) = failure(&pair.client, &pair.url("/")).await;
        assert_eq!((layer, found), (Layer::Body, kind));
    }
}

#[tokio::test]
async fn headers_that_are_too_many_are_refused() {
    let headers = |request: &Http3Request| {
        let header = |number| (format!("x-{number}"), String::new());
        Http3Answer { headers: (0..300).map(header).collect(), ..hello(request) }
    };
    let pair = Pair::new(headers, |_| {});
    let (layer, kind, _) = failure(&pair.client, &pair.url("/")).await;
    assert_eq!((layer, kind), (Layer::Request, FailureKind::TooLarge));
}

/// A server of QUIC that sends the same bytes on each stream that a client opens, and ends it.
fn raw(tls: ServerConfig, bytes: &'static [u8]) -> SocketAddr {
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.unwrap();
            while let Ok((mut send, _receive)) = connection.accept_bi().await {
                send.write_all(bytes).await.unwrap();
                send.finish().unwrap();
                let _ = send.stopped().await;
            }
        }
    });
    address
}

#[tokio::test]
async fn frames_that_are_no_answer_are_refused() {
    // HEADERS with `:status: 200`, by the static table of QPACK.
    const OK: &[u8] = b"\x01\x03\x00\x00\xd9";
    let cut = [OK, b"\x00\x40\x64half of it"].concat();
    let twice = [OK, b"\x04\x00"].concat();
    for (bytes, layer, kind) in [
        (&b""[..], Layer::Request, FailureKind::Protocol),
        (b"\x00\x01a", Layer::Request, FailureKind::Protocol),
        (b"\x01\x03\xff\xff\xff", Layer::Request, FailureKind::Protocol),
        (b"\x01\xc0\x00\x00\x40\x00\x00\x00\x00", Layer::Request, FailureKind::TooLarge),
        (b"\x01\x40\x64half", Layer::Request, FailureKind::Closed),
        (cut.leak(), Layer::Body, FailureKind::Closed),
        (twice.leak(), Layer::Body, FailureKind::Protocol),
    ] {
        let authority = Authority::new("Test Root");
        let server = raw(authority.server(false, &[b"h3"]), bytes);
        let client = client(&authority, |_| {});
        let (found, found_kind, _) = failure(&client, &format!("https://{server}/")).await;
        assert_eq!((found, found_kind), (layer, kind), "{bytes:?}");
    }
}

#[tokio::test]
async fn http3_alone_goes_neither_without_tls_nor_through_a_proxy() {
    let authority = Authority::new("Test Root");
    let direct = client(&authority, |_| {});
    let proxied = client(&authority, |settings| {
        settings.proxy = ProxyChoice::Url("http://user:word@127.0.0.1:1".parse().unwrap());
    });
    for (client, url) in [(&direct, "http://127.0.0.1:1/"), (&proxied, "https://127.0.0.1:1/")] {
        let (layer, kind, trace) = failure(client, url).await;
        assert_eq!((layer, kind), (Layer::Configuration, FailureKind::Invalid));
        assert!(trace.dials.is_empty());
        assert!(!format!("{trace:?}").contains("word"));
    }
    let refused = builder(|settings| {
        settings.versions = HttpVersions::Http3Only;
        settings.tls.maximum_version = Some(ProtocolVersion::TLSv1_2);
    });
    assert!(refused.build().is_err());
}

#[tokio::test]
async fn a_proxy_is_gone_through_over_tcp_where_http3_is_but_preferred() {
    let proxy = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let client = client(&Authority::new("Test Root"), |settings| {
        settings.versions = HttpVersions::PreferHttp3;
        settings.proxy = ProxyChoice::Url(format!("http://{proxy}").parse().unwrap());
    });
    let (layer, kind, trace) = failure(&client, "https://web.test/").await;
    assert_eq!((layer, kind), (Layer::Proxy, FailureKind::ProxyRefused));
    assert!(quic(&trace).is_empty() && trace.connects.len() == 1);
}

#[tokio::test]
async fn a_certificate_of_ours_is_sent_where_it_is_asked_for() {
    let authority = Authority::new("Test Root");
    let tls = authority.server_that_asks(&[b"h3"]);
    let server = Http3::start(socket(), tls, &Http3Options::default(), hello);
    let url = format!("https://{}/", server.address());
    let known = client(&authority, |settings| {
        settings.tls.client_certificate = Some(authority.client_certificate());
    });
    assert_eq!(fetch(&known, &url).await.unwrap(), "hello\n");
    assert!(known.trace("known").tls[0].client_certificate_requested);
    let unknown = client(&authority, |_| {});
    let (_, kind, trace) = failure(&unknown, &url).await;
    assert_eq!((kind, trace.tls[0].client_certificate_requested), (FailureKind::Alert, true));
}
