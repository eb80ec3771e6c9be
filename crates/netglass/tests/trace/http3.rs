//! Requests over HTTP/3, and over TCP where QUIC does not connect.

use std::process::Command;

use netglass_testing::{Http3Answer, Http3End, Http3Request, har_entries, require, run};

use crate::support::{Net, Place};

const HTTP3: [&str; 6] =
    ["--http3-only", "--dns-servers", "10.7.0.2", "--cacert", "ca.pem", "https://web.example/page"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &HTTP3].concat()
}

fn page(_: &Http3Request) -> Http3Answer {
    Http3Answer::with_body(vec![b'a'; 1000]).header("alt-svc", r#"h3=":443"; ma=60"#)
}

#[test]
fn a_page_over_http3_is_a_waterfall() {
    require!(root, command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let server = net.http3(&place, false, page);
    let traced = place.trace_in(&net.client, &with(&[]));
    traced.assert_says(
        0,
        &[
            "GET https://web.example/page: 200 OK, HTTP/3, 1000 B in ",
            "web.example: 10.7.0.2, from 10.7.0.2:53\n",
            "\nquic ",
            "10.7.0.2:443 from 10.7.0.1:",
            ", QUIC version 1, round trip ",
            ", TLSv1.3, ",
            ", h3\n",
            "certificate of CN=web.example",
            "\nrequest ",
            "  stream 0\n",
            "\nwait ",
            "\nresponse ",
        ],
    );
    assert!(!traced.stdout.contains("\nconnect ") && !traced.stdout.contains("\ntls "));
    assert_eq!((server.connections(), traced.stderr.as_str()), (1, ""));
    place.trace_in(&net.client, &with(&["-v"])).assert_says(
        0,
        &[
            "\nquic        ",
            "connection identifiers: ours ",
            " datagrams sent, ",
            "we ended it with code 256",
            "\nalt-svc     h3 at :443 for 60 s\n",
        ],
    );
}

#[test]
fn all_formats_tell_of_http3() {
    require!(root, command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _server = net.http3(&place, false, page);
    let in_format = |format| place.trace_in(&net.client, &with(&["--format", format]));

    let json = in_format("json");
    place.file("trace.json", &json.stdout);
    let object = json.object();
    let request = &object["requests"][0];
    assert_eq!((&object["schema"], &request["version"]), (&1.into(), &"HTTP/3".into()));
    assert_eq!(request["alternatives"]["services"][0]["protocol"], "h3");
    let udp = object["udp"].as_array().unwrap().iter().find(|udp| udp["quic"].is_object()).unwrap();
    assert_eq!((&udp["id"], &udp["quic"]["version"]), (&request["connection"], &1.into()));
    assert_eq!(
        (&udp["quic"]["close"]["by"], &udp["quic"]["early_data"]),
        (&"client".into(), &"not-offered".into())
    );
    assert_eq!(object["dials"][0]["attempts"][0]["transport"], "quic");
    assert_eq!(object["tls"][0]["connection"], udp["id"]);
    let again = place.trace(&["show", "trace.json", "--format", "json"]);
    assert_eq!(again.stdout, json.stdout);

    let nettrace = in_format("nettrace").object();
    let request = &nettrace["httpRequests"][0];
    assert_eq!((&request["protoMajor"], &request["tcpConn"]), (&3.into(), &"".into()));
    assert_eq!(nettrace["tlsTunnels"][0]["negotiatedProto"], "h3");

    let har = in_format("har");
    let entries = har_entries(&har.stdout);
    assert_eq!(entries[0]["request"]["httpVersion"], "h3");
    assert_eq!(entries[0]["serverIPAddress"], "10.7.0.2");
    assert_eq!(entries[0]["_quic"]["version"], 1);
    let timing = |phase: &str| entries[0]["timings"][phase].as_f64().unwrap();
    assert!(timing("connect") > 0.0 && timing("ssl") > 0.0, "{entries:?}");

    let otlp = in_format("otlp").object();
    let spans = otlp["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    for name in ["GET", "lookup", "quic", "attempt", "wait", "response"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let attributes = spans[0]["attributes"].as_array().unwrap();
    for (key, value) in [("network.protocol.version", "3"), ("network.transport", "quic")] {
        let attribute = attributes.iter().find(|attribute| attribute["key"] == key).unwrap();
        assert_eq!(attribute["value"]["stringValue"], value);
    }
}

#[test]
fn packets_of_quic_are_written_and_can_be_decrypted() {
    require!(root, command("dnsmasq"), command("nft"), command("tshark"));
    let (net, place) = (Net::new(), Place::new());
    let _server = net.http3(&place, false, page);
    let tshark = |filter: &str, field: &str| {
        let file = place.path("out.pcapng").display().to_string();
        run(Command::new("tshark").args(["-r", &file, "-Y", filter, "-T", "fields", "-e", field]))
    };
    let traced = place.trace_in(&net.client, &with(&["--pcap", "out.pcapng"]));
    traced.assert_says(0, &["200 OK"]);
    assert!(tshark("quic.long.packet_type == 0", "ip.dst").contains("10.7.0.2"));
    assert_eq!(tshark("http3", "ip.dst"), "");
    let traced = place.trace_in(&net.client, &with(&["--pcap", "out.pcapng", "--show-secrets"]));
    traced.assert_says(0, &["200 OK"]);
    // HEADERS of the request, and of the response.
    let sent = tshark("http3.frame_type == 1 && ip.src == 10.7.0.1", "quic.stream.stream_id");
    let received = tshark("http3.frame_type == 1 && ip.src == 10.7.0.2", "quic.stream.stream_id");
    assert!(sent.contains('0') && received.contains('0'), "{sent:?} {received:?}");
    // The end is told to the server: CONNECTION_CLOSE of the application, H3_NO_ERROR.
    assert!(tshark("quic.frame_type == 0x1d", "quic.cc.error_code.app").contains("256"));
}

#[test]
fn tcp_is_used_where_quic_does_not_connect() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let [_, options @ ..] = HTTP3;
    let preferred = place.trace_in(&net.client, &[&["--http3"][..], &options].concat());
    preferred.assert_says(
        0,
        &["200 OK, HTTP/2, 1000 B", "\nquic ", "refused", "\nconnect ", " won\n", "\ntls "],
    );
    let alone = place.trace_in(&net.client, &with(&[]));
    alone.assert_says(
        4,
        &["connect failed: ", "10.7.0.2:443", "refused the connection", "ss -lun", "ICMP type 3"],
    );
    let silent = place.trace_in(
        &net.client,
        &["--http3-only", "-k", "--connect-timeout", "0.3", "https://[2001:db8:7::dead]/"],
    );
    silent.assert_says(4, &["connect failed: ", "did not answer in time", "UDP is dropped"]);
}

#[test]
fn addresses_are_tried_as_over_tcp_and_options_say_which() {
    require!(root, command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let server = net.http3(&place, false, page);
    let [only, dns, name_server, ca, file, url] = HTTP3;
    let both = [only, dns, name_server, "-k", "https://both.example/"];
    place.trace_in(&net.client, &both).assert_says(
        0,
        &[
            "200 OK, HTTP/3",
            "[2001:db8:7::dead]:443 abandoned: ",
            "10.7.0.2:443 (the other family) won",
            " ms lost with other addresses",
        ],
    );
    let resolve = "web.example:443:10.7.0.2";
    let told = [only, ca, file, "--resolve", resolve, "--interface", "10.7.0.1", "-4", url];
    place.trace_in(&net.client, &told).assert_says(
        0,
        &["web.example: 10.7.0.2, as --resolve says", "10.7.0.2:443 from 10.7.0.1:"],
    );
    let elsewhere = [only, "-k", "--connect-to", "::10.7.0.2:443", "https://other.example:8443/"];
    place.trace_in(&net.client, &elsewhere).assert_says(0, &["200 OK, HTTP/3"]);
    let host = server.requests().last().unwrap().head.uri().host().map(str::to_owned);
    assert_eq!(host.as_deref(), Some("other.example"));
}

#[test]
fn failures_of_http3_have_the_status_of_their_layer() {
    require!(root, command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _server = net.http3(&place, true, |request| match request.head.uri().path() {
        "/reset" => Http3Answer::default().ends(Http3End::Reset(0x10b)),
        "/cut" => Http3Answer::with_body("part").header("content-length", "9"),
        "/never" => Http3Answer::default().ends(Http3End::Never),
        _ => page(request),
    });
    place.trace_in(&net.client, &with(&[])).assert_says(
        6,
        &["TLS handshake failed: web.example (10.7.0.2:443) has a certificate", "expired "],
    );
    let [only, dns, name_server, ..] = HTTP3;
    for (path, status, part) in [
        ("/reset", 7, "H3_REQUEST_REJECTED"),
        ("/cut", 8, "shorter than the server said"),
        ("/never", 7, "did not answer in time"),
    ] {
        let url = format!("https://web.example{path}");
        let arguments = [only, dns, name_server, "-k", "-m", "1.5", &url];
        place.trace_in(&net.client, &arguments).assert_says(status, &[part]);
    }
    for (more, part) in [
        (&["http://web.example/"][..], "takes https"),
        (&["-x", "http://10.7.0.2:3128", "https://web.example/"], "does not go through a proxy"),
    ] {
        place.trace_in(&net.client, &[&[only], more].concat()).assert_says(2, &[part]);
    }
}
