//! What the options do, as servers see it.

use std::{fs, net::TcpListener};

use netglass_testing::Running;

use crate::support::{Place, Server, answer};

const SECRETS: [&str; 5] = ["URLWORD", "PROXYWORD", "TOKENWORD", "COOKIEWORD", "SETWORD"];

#[test]
fn requests_are_made_as_the_options_say() {
    let place = Place::new();
    place.file("body", "one\ntwo\n");
    let server = Server::new([(); 4].map(|()| answer("hello")).each_ref().map(String::as_str));
    let url = server.url("/a?b=c#d");
    place.trace(&[&url, "-H", "X-One: two", "-H", "User-Agent: me", "-u", "alice:word"]);
    place.trace(&[&url, "-d", "a=b", "-d", "@body"]);
    place.trace(&[&url, "--data-binary", "@body", "-X", "PUT", "-H", "Content-Type: text/plain"]);
    let last = place.trace(&[&url, "-o", "out", "--compressed"]);
    last.assert_says(0, &["200 OK, HTTP/1.1, 5 B"]);
    assert_eq!(fs::read(place.path("out")).unwrap(), b"hello");

    let received = server.received();
    assert!(received[0].head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{received:?}");
    let header = |index: usize, name| received[index].header(name);
    assert_eq!(header(0, "x-one"), Some("two"));
    assert_eq!(header(0, "user-agent"), Some("me"));
    assert_eq!(header(0, "authorization"), Some("Basic YWxpY2U6d29yZA=="));
    assert!(received[1].head.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{received:?}");
    assert_eq!(header(1, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(received[1].body, b"a=b&onetwo");
    assert!(received[2].head.starts_with("PUT /a?b=c HTTP/1.1\r\n"), "{received:?}");
    assert_eq!(header(2, "content-type"), Some("text/plain"));
    assert_eq!(received[2].body, b"one\ntwo\n");
    assert_eq!((header(2, "accept-encoding"), header(3, "accept-encoding")), (None, Some("gzip")));
}

#[test]
fn a_body_on_standard_output_leaves_the_trace_to_standard_error() {
    let place = Place::new();
    let server = Server::new([&*answer("hello")]);
    let traced = place.trace(&[&server.url("/"), "-o", "-"]);
    assert_eq!((traced.status, traced.stdout.as_str()), (0, "hello"));
    assert!(traced.stderr.contains("200 OK"), "{traced:?}");
}

#[test]
fn connections_go_where_the_options_say() {
    let place = Place::new();
    let server = Server::new([(); 3].map(|()| answer("")).each_ref().map(String::as_str));
    let port = server.address.port();
    let resolve = format!("web.example:{port}:127.0.0.1");
    let named = format!("http://web.example:{port}/");
    let traced = place.trace(&["--resolve", &resolve, &named]);
    traced.assert_says(0, &["web.example: 127.0.0.1, as --resolve says"]);
    let elsewhere = format!("::127.0.0.1:{port}");
    place.trace(&["--connect-to", &elsewhere, "http://other.example/"]).assert_says(0, &["200 OK"]);
    let from = place.trace(&["--interface", "127.0.0.9", &server.url("/")]);
    from.assert_says(0, &["from 127.0.0.9:"]);
    let received = server.received();
    let host = |index: usize| received[index].header("host");
    assert_eq!(host(0), Some(&*format!("web.example:{port}")));
    assert_eq!(host(1), Some("other.example"));
}

#[test]
fn no_secret_is_written_unless_it_is_asked_for() {
    let place = Place::new();
    let response = "HTTP/1.1 200 OK\r\nSet-Cookie: a=SETWORD\r\nContent-Length: 0\r\n\r\n";
    let trace = |more: &[&str]| {
        let proxy = Server::new([response]);
        let through = format!("http://bob:PROXYWORD@{}", proxy.address);
        let arguments = [
            &["-v", "-x", &through, "-H", "X-Api-Key: TOKENWORD", "-H", "Cookie: a=COOKIEWORD"],
            &["http://alice:URLWORD@web.example/"][..],
            more,
        ];
        let traced = place.trace(&arguments.concat());
        (traced, proxy.received())
    };
    for format in ["text", "json", "nettrace", "har", "otlp"] {
        let (traced, received) = trace(&["--format", format]);
        assert_eq!(traced.status, 0, "{traced:?}");
        for secret in SECRETS {
            let written = format!("{}{}", traced.stdout, traced.stderr);
            assert!(!written.contains(secret), "{secret} in {format}: {written}");
        }
        assert_eq!(received[0].header("cookie"), Some("a=COOKIEWORD"));
        assert_eq!(received[0].header("authorization"), Some("Basic YWxpY2U6VVJMV09SRA=="));
        assert!(received[0].header("proxy-authorization").is_some(), "{received:?}");
    }
    let (shown, _) = trace(&["--show-secrets"]);
    for secret in SECRETS {
        assert!(shown.stdout.contains(secret), "{secret} is not in {shown:?}");
    }
}

#[test]
fn passwords_are_not_seen_by_who_lists_processes() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("http://eve:URLWORD@{address}/");
    let arguments = ["-ualice:USERWORD", "-H", "Cookie: COOKIEWORD", "-d", "DATAWORD", &url];
    let running = Running::spawn(place.netglass(&arguments));
    let (stream, _) = silent.accept().unwrap();
    let shown = fs::read_to_string(format!("/proc/{}/cmdline", running.id())).unwrap();
    let (_, shown) = shown.split_once('\0').unwrap();
    let url = format!("http://eve:***@{address}/");
    let expected = ["trace", "-ualice:***", "-H", "Cookie: ***", "-d", "***", &url];
    assert_eq!(shown.split_terminator('\0').collect::<Vec<_>>(), expected);
    let received = crate::support::Received::read(&stream).unwrap();
    assert_eq!(
        (received.header("cookie"), &*received.body),
        (Some("COOKIEWORD"), &b"DATAWORD"[..])
    );
    drop((stream, silent));
    running.wait();
}

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    let url = "http://127.0.0.1:1/";
    for (arguments, part) in [
        (&[][..], "<URL>"),
        (&["ftp://web.example/"], "ftp"),
        (&["http://u:WORD@h:99999/"], "port"),
        (&[url, url, "-o", "x"], "--output"),
        (&[url, "-H", "no header"], "--header"),
        (&[url, "-X", "NO METHOD"], "NO METHOD"),
        (&[url, "-4", "-6"], "--ipv6"),
        (&[url, "--http1.1", "--http3"], "--http3"),
        (&[url, "--http2", "--http3-only"], "--http3-only"),
        (&[url, "--http3", "--http3-only"], "--http3-only"),
        (&[url, "-m", "0"], "longer than nothing"),
        (&[url, "--resolve", "web.example"], "HOST:PORT:ADDRESS"),
        (&[url, "--dns-servers", "dns.example"], "neither an IPv4"),
        (&[url, "-x", "ftp://127.0.0.1/"], "ftp"),
        (&[url, "--key", "k.pem"], "--cert"),
        (&[url, "--repeat", "0"], "--repeat"),
        (&[url, "--repeat", "2", "--pcap", "x"], "--pcap"),
        (&[url, "--interface", "averylonginterface"], "interface"),
    ] {
        let traced = place.trace(arguments);
        assert_eq!((traced.status, traced.stdout.as_str()), (2, ""), "{traced:?}");
        assert!(traced.stderr.contains(part), "{part} is missing in {traced:?}");
        assert!(!traced.stderr.contains("WORD"), "{traced:?}");
    }
    for (arguments, part) in
        [(&[url, "--cacert", "none.pem"][..], "none.pem"), (&[url, "-d", "@none"], "none")]
    {
        let traced = place.trace(arguments);
        assert_eq!((traced.status, traced.stdout.as_str()), (1, ""), "{traced:?}");
        assert!(traced.stderr.contains(part), "{part} is missing in {traced:?}");
    }
}
