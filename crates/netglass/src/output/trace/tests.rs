use std::sync::Arc;

use http_trace::record::{FailureKind, IcmpCause, Layer};
use insta::assert_snapshot;

use super::{
    comparison::Comparison, failure::sentence, fixtures, har, otlp, summary::Summary, text,
};

fn plain(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap()
}

#[test]
fn a_page_is_a_waterfall() {
    let trace = fixtures::page();
    assert_snapshot!(plain(|out| text::render(&trace, false, out)), @r#"
    GET https://example.org/page?a=1&b=two: 200 OK, HTTP/2, 12.3 KiB in 400 ms
    PHASE       0                         400 ms      TOOK
    lookup      █                                  12.0 ms  example.org: 2001:db8::1 192.0.2.1, from 192.0.2.53:53
    connect     █████████████████████████           306 ms  192.0.2.1:443 from 192.0.2.9:50000, round trip 5.90 ms, 300 ms lost with other addresses
      attempt   ░░░░░░░░░░░░░░░░░░░░░░░░░           306 ms  [2001:db8::1]:443 abandoned: another was faster
      attempt                           █          6.00 ms  192.0.2.1:443 (the other family) won
    tls                                  ███       32.0 ms  TLSv1.3, X25519, TLS13_AES_256_GCM_SHA384, h2
                                                            certificate of CN=example.org: 41 days left, signed by CN=Example CA
    request                                 █      1.00 ms  stream 1
    wait                                    ███    39.0 ms  until the first byte of the response
    response                                   █   10.0 ms  12.3 KiB, gzip of 2.9 KiB
    "#);
}

#[test]
fn all_requests_are_on_one_axis() {
    let trace = fixtures::redirected();
    assert_snapshot!(plain(|out| text::render(&trace, false, out)), @r#"
    GET http://example.org/: 301 Moved Permanently, HTTP/1.1, 0 B in 21.0 ms
    PHASE       0                         400 ms      TOOK
    request     █                                  1.00 ms  stream 1
    wait        █                                  19.0 ms  until the first byte of the response
    response     █                                 1.00 ms  0 B

    GET https://example.org/page?a=1&b=two: 200 OK, HTTP/2, 12.3 KiB in 400 ms
    PHASE       0                         400 ms      TOOK
    lookup      █                                  12.0 ms  example.org: 2001:db8::1 192.0.2.1, from 192.0.2.53:53
    connect     █████████████████████████           306 ms  192.0.2.1:443 from 192.0.2.9:50000, round trip 5.90 ms, 300 ms lost with other addresses
      attempt   ░░░░░░░░░░░░░░░░░░░░░░░░░           306 ms  [2001:db8::1]:443 abandoned: another was faster
      attempt                           █          6.00 ms  192.0.2.1:443 (the other family) won
    tls                                  ███       32.0 ms  TLSv1.3, X25519, TLS13_AES_256_GCM_SHA384, h2
                                                            certificate of CN=example.org: 41 days left, signed by CN=Example CA
    request                                 █      1.00 ms  stream 1
    wait                                    ███    39.0 ms  until the first byte of the response
    response                                   █   10.0 ms  12.3 KiB, gzip of 2.9 KiB
    "#);
}

#[test]
fn verbose_shows_headers_messages_and_certificates() {
    let trace = fixtures::page();
    assert_snapshot!(plain(|out| text::render(&trace, true, out)), @r#"
    GET https://example.org/page?a=1&b=two: 200 OK, HTTP/2, 12.3 KiB in 400 ms
    PHASE       0                         400 ms      TOOK
    lookup      █                                  12.0 ms  example.org: 2001:db8::1 192.0.2.1, from 192.0.2.53:53
    connect     █████████████████████████           306 ms  192.0.2.1:443 from 192.0.2.9:50000, round trip 5.90 ms, 300 ms lost with other addresses
      attempt   ░░░░░░░░░░░░░░░░░░░░░░░░░           306 ms  [2001:db8::1]:443 abandoned: another was faster
      attempt                           █          6.00 ms  192.0.2.1:443 (the other family) won
    tls                                  ███       32.0 ms  TLSv1.3, X25519, TLS13_AES_256_GCM_SHA384, h2
                                                            certificate of CN=example.org: 41 days left, signed by CN=Example CA
    request                                 █      1.00 ms  stream 1
    wait                                    ███    39.0 ms  until the first byte of the response
    response                                   █   10.0 ms  12.3 KiB, gzip of 2.9 KiB
    dns         example.org. AAAA? of 192.0.2.53:53, 40 bytes
    tls         offered h2, http/1.1
    certificate CN=example.org: 41 days left
                for example.org, www.example.org
                signed by CN=Example CA
                EC of 256 bits, ecdsa-with-SHA256, SHA-256 abababababababababababababababababababababababababababababababab
    tcp         700 B sent, 5.9 KiB received
                0 segments sent more than once, largest segment 1448 bytes, window 0 segments
    >           Cookie: a=1; b=2
    >           User-Agent: netglass/0.1.0
    <           200 OK
    <           Content-Type: text/html
    <           Set-Cookie: session=abc; Path=/; HttpOnly; Secure
    "#);
}

#[test]
fn a_page_over_quic_has_one_handshake() {
    let trace = fixtures::over_quic();
    assert_snapshot!(plain(|out| text::render(&trace, true, out)), @r#"
    GET https://example.org/page?a=1&b=two: 200 OK, HTTP/3, 12.3 KiB in 400 ms
    PHASE       0                         400 ms      TOOK
    lookup      █                                  12.0 ms  example.org: 2001:db8::1 192.0.2.1, from 192.0.2.53:53
    quic        █████████████████████████           306 ms  192.0.2.1:443 from 192.0.2.9:50000, QUIC version 1, round trip 5.90 ms, TLSv1.3, X25519, TLS13_AES_256_GCM_SHA384, h3, after a proof of our address, 0-RTT accepted, 300 ms lost with other addresses
      attempt   ░░░░░░░░░░░░░░░░░░░░░░░░░           306 ms  [2001:db8::1]:443 abandoned: another was faster
      attempt                           █          6.00 ms  192.0.2.1:443 (the other family) won
                                                            certificate of CN=example.org: 41 days left, signed by CN=Example CA
    request                              █         1.00 ms  stream 0
    wait                                 ██████    71.0 ms  until the first byte of the response
    response                                   █   10.0 ms  12.3 KiB, gzip of 2.9 KiB
    dns         example.org. AAAA? of 192.0.2.53:53, 40 bytes
    tls         offered h3
    certificate CN=example.org: 41 days left
                for example.org, www.example.org
                signed by CN=Example CA
                EC of 256 bits, ecdsa-with-SHA256, SHA-256 abababababababababababababababababababababababababababababababab
    quic        3.0 KiB sent, 8.8 KiB received
                connection identifiers: ours 0102030405060708, the server's 1112131415161718, at first abababababababababababababababababababab
                7 datagrams sent, 9 received, 0 packets lost, window 11.7 KiB, largest datagram 1452 bytes
                the server takes no requests from stream 4 on
                the server ended it with code 256: done
    >           Cookie: a=1; b=2
    >           User-Agent: netglass/0.1.0
    <           200 OK
    <           Content-Type: text/html
    <           Set-Cookie: session=abc; Path=/; HttpOnly; Secure
    alt-svc     h3 at :443 for 3600 s, also on other networks
    alt-svc     malformed: a service does not begin with a protocol
    "#);
    let entry = har::entries(&trace).next().unwrap();
    assert_eq!(entry["request"]["httpVersion"], "h3");
    assert_eq!(
        (&entry["timings"]["connect"], &entry["timings"]["ssl"]),
        (&306.0.into(), &306.0.into())
    );
    assert_eq!(entry["_quic"]["earlyData"], "accepted");
    let export = otlp::export(&trace).to_string();
    assert!(export.contains(r#"{"key":"network.transport","value":{"stringValue":"quic"}}"#));
}

#[test]
fn a_failure_is_a_sentence() {
    let trace = fixtures::refused();
    assert_snapshot!(plain(|out| text::render(&trace, false, out)), @r#"
    GET https://example.org/page?a=1&b=two: failed in 13.0 ms
    PHASE       0                        13.0 ms      TOOK
    lookup      █████████████████████████████      12.0 ms  example.org: 2001:db8::1 192.0.2.1, from 192.0.2.53:53
    connect                                  ▒▒▒   1.00 ms  192.0.2.1:443 failed: cannot connect to 192.0.2.1:443: Connection refused (os error 111)
    connect failed: example.org:443 (192.0.2.1:443) refused the connection (cannot connect to 192.0.2.1:443: Connection refused (os error 111)); next, see whether a server listens at that address and port (ss -ltn on that host), and whether a firewall rejects.
    "#);
}

const LAYERS: [Layer; 8] = [
    Layer::Configuration,
    Layer::Dns,
    Layer::Connect,
    Layer::Proxy,
    Layer::Tls,
    Layer::Request,
    Layer::Body,
    Layer::Caller,
];

const KINDS: [FailureKind; 19] = [
    FailureKind::Timeout,
    FailureKind::Canceled,
    FailureKind::Refused,
    FailureKind::Reset,
    FailureKind::Unreachable,
    FailureKind::Closed,
    FailureKind::NoSuchName,
    FailureKind::ServerMisbehaving,
    FailureKind::NoNameserver,
    FailureKind::SourceAddress,
    FailureKind::Certificate,
    FailureKind::Alert,
    FailureKind::Protocol,
    FailureKind::ProxyRefused,
    FailureKind::TooManyRedirects,
    FailureKind::TooLarge,
    FailureKind::Invalid,
    FailureKind::ClientClosed,
    FailureKind::Other,
];

#[test]
fn every_kind_of_failure_in_every_layer_has_its_sentence() {
    let mut by_kind = std::collections::BTreeSet::new();
    for kind in KINDS {
        for layer in LAYERS {
            let trace = fixtures::failed(layer, kind, "MESSAGE");
            let sentence = sentence(&trace, &trace.requests[0]).unwrap();
            assert!(sentence.starts_with(super::failure::layer_name(layer)), "{sentence}");
            assert!(sentence.contains(" failed: ") && sentence.contains("(MESSAGE)"), "{sentence}");
            assert!(sentence.contains("; next, ") && sentence.ends_with('.'), "{sentence}");
            let whom = match layer {
                Layer::Configuration | Layer::Proxy => "https://example.org/page",
                Layer::Dns => "for example.org, the name server 192.0.2.53:53",
                Layer::Connect => "example.org:443 ([2001:db8::1]:443)",
                Layer::Tls | Layer::Request | Layer::Body => "example.org (192.0.2.1:443)",
                _ => "who asked",
            };
            assert!(sentence.contains(whom), "{sentence}");
            if layer == Layer::Request {
                by_kind.insert(sentence);
            }
        }
    }
    assert_eq!(by_kind.len(), KINDS.len(), "each kind has another sentence");
}

#[test]
fn each_layer_has_an_exit_status_of_its_own() {
    let mut statuses: Vec<u8> = LAYERS.into_iter().map(super::exit_status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_the_network_reported_is_part_of_the_sentence() {
    let mut trace = fixtures::failed(
        Layer::Connect,
        FailureKind::Unreachable,
        "No route to host (os error 113)",
    );
    Arc::make_mut(&mut trace.requests[0]).error.as_mut().unwrap().cause =
        Some(Box::new(IcmpCause {
            from: Some("192.0.2.67".parse().unwrap()),
            icmp_type: Some(3),
            icmp_code: Some(10),
            meaning: "the host is administratively prohibited".to_owned(),
        }));
    assert_snapshot!(sentence(&trace, &trace.requests[0]).unwrap(), @"connect failed: example.org:443 ([2001:db8::1]:443) cannot be reached (No route to host (os error 113)), as 192.0.2.67 reported: the host is administratively prohibited (ICMP type 3 code 10); next, look at the route to that address (ip route get), and at the other end of the link.");
}

#[test]
fn hostile_names_stay_on_their_line() {
    let mut trace = fixtures::failed(Layer::Tls, FailureKind::Alert, "no\x1b[2J\nway");
    Arc::make_mut(&mut trace.requests[0]).url = "https://a\u{202e}b/\x1b]0;x\x07".into();
    let shown = plain(|out| {
        text::render(&trace, true, out)?;
        text::render_line(1, &trace, out)
    });
    assert!(shown.chars().all(|it| it == '\n' || !it.is_control() && it != '\u{202e}'), "{shown}");
}

#[test]
fn spans_are_those_of_opentelemetry() {
    let shown = serde_json::to_string_pretty(&otlp::export(&fixtures::page())).unwrap();
    assert_snapshot!("otlp", shown);
    let ids = |trace| {
        let export = otlp::export(&trace);
        let spans =
            export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
        spans.iter().map(|span| span["traceId"].clone()).collect::<Vec<_>>()
    };
    let chain = ids(fixtures::redirected());
    assert!(chain.len() > 10 && chain.iter().all(|id| *id == chain[0]), "{chain:?}");
}

#[test]
fn repetitions_are_percentiles() {
    let mut summary = Summary::default();
    summary.add(&fixtures::page());
    summary.add(&fixtures::redirected());
    summary.add(&fixtures::refused());
    assert_snapshot!(plain(|out| summary.write(out)), @r#"
    PHASE     COUNT      MIN      P50      P90      P99      MAX
    queued        3     0 µs     0 µs     0 µs     0 µs     0 µs
    lookup        2  12.0 ms  12.0 ms  12.0 ms  12.0 ms  12.0 ms
    connect       2   306 ms   306 ms   306 ms   306 ms   306 ms
    tls           2  32.0 ms  32.0 ms  32.0 ms  32.0 ms  32.0 ms
    request       3  1.00 ms  1.00 ms  1.00 ms  1.00 ms  1.00 ms
    wait          3  19.0 ms  39.0 ms  39.0 ms  39.0 ms  39.0 ms
    response      3  1.00 ms  10.0 ms  10.0 ms  10.0 ms  10.0 ms
    total         3  21.0 ms   400 ms   400 ms   400 ms   400 ms
    2 times 200, 1 times 301, 1 failed in connect
    "#);
    let (page, refused) = (fixtures::page(), fixtures::refused());
    let lines = plain(|out| {
        text::render_line(1, &page, out)?;
        text::render_line(2, &refused, out)
    });
    assert_snapshot!(lines, @r#"
    1  200 OK in 400 ms  lookup 12.0 ms, connect 306 ms, tls 32.0 ms, request 1.00 ms, wait 39.0 ms, response 10.0 ms
    2  connect failed: cannot connect to 192.0.2.1:443: Connection refused (os error 111) in 13.0 ms  lookup 12.0 ms, connect 1.00 ms
    "#);
}

#[test]
fn what_is_different_is_told() {
    let (before, after) = ([fixtures::page()], [fixtures::refused()]);
    let comparison = Comparison::new(&before, &after);
    assert_snapshot!(plain(|out| comparison.write_text(out)), @r#"
    PHASE      BEFORE  AFTER  DIFFERENCE
    queued       0 µs      -           -
    lookup    12.0 ms      -           -
    connect    306 ms      -           -
    tls       32.0 ms      -           -
    request   1.00 ms      -           -
    wait      39.0 ms      -           -
    response  10.0 ms      -           -
    total      400 ms      -           -
    GET https://example.org/page?a=1&b=two: failure: - -> connect: cannot connect to 192.0.2.1:443: Connection refused (os error 111)
    GET https://example.org/page?a=1&b=two: status: 200 OK -> -
    GET https://example.org/page?a=1&b=two: version: HTTP/2 -> -
    GET https://example.org/page?a=1&b=two: address: 192.0.2.1:443 -> -
    GET https://example.org/page?a=1&b=two: attempts to connect: 2 -> 1
    GET https://example.org/page?a=1&b=two: open connection used: false -> -
    GET https://example.org/page?a=1&b=two: TLS version: TLSv1.3 -> -
    GET https://example.org/page?a=1&b=two: cipher suite: TLS13_AES_256_GCM_SHA384 -> -
    GET https://example.org/page?a=1&b=two: key exchange: X25519 -> -
    GET https://example.org/page?a=1&b=two: session resumed: false -> -
    GET https://example.org/page?a=1&b=two: certificate: CN=example.org -> -
    GET https://example.org/page?a=1&b=two: certificate's SHA-256: abababababababababababababababababababababababababababababababab -> -
    GET https://example.org/page?a=1&b=two: certificate's end: 2026-03-14T00:00:00Z -> -
    GET https://example.org/page?a=1&b=two: type: text/html -> -
    GET https://example.org/page?a=1&b=two: bytes of the body: 12595 -> -
    "#);
    assert_snapshot!("comparison", serde_json::to_string_pretty(&comparison).unwrap());
    let same = Comparison::new(&before, &before);
    assert!(plain(|out| same.write_text(out)).ends_with("\nnothing but times is different\n"));
}

#[test]
fn a_trace_reads_as_it_was_written() {
    for trace in
        [fixtures::page(), fixtures::over_quic(), fixtures::redirected(), fixtures::refused()]
    {
        let json = serde_json::to_string(&trace).unwrap();
        assert_eq!(serde_json::from_str::<http_trace::HttpTrace>(&json).unwrap(), trace);
    }
}

#[test]
fn archives_are_those_of_har() {
    let traces = [
        fixtures::page(),
        fixtures::redirected(),
        fixtures::refused(),
        fixtures::failed(Layer::Body, FailureKind::Closed, "cut"),
    ];
    let entries: Vec<String> =
        traces.iter().flat_map(har::entries).map(|entry| entry.to_string()).collect();
    let archive = format!("{}{}{}", har::head(), entries.join(","), har::TAIL);
    let entries = netglass_testing::har_entries(&archive);
    assert_eq!(entries.len(), 5);
    assert_snapshot!("har", serde_json::to_string_pretty(&entries[0]).unwrap());
    let of = |index: usize, name: &str| entries[index]["timings"][name].to_string();
    assert_eq!([of(0, "dns"), of(0, "connect"), of(0, "ssl")], ["12.0", "338.0", "32.0"]);
    assert_eq!([of(1, "dns"), of(1, "connect"), of(1, "wait")], ["-1.0", "-1.0", "19.0"]);
    assert_eq!(entries[1]["response"]["redirectURL"], "https://example.org/page?a=1&b=two");
    assert_eq!(entries[3]["response"]["status"], 0);
    assert_eq!(entries[3]["_failedLayer"], "connect");
}
