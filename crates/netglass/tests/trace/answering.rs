//! Requests that are answered, in every format.

use std::process::Command;

use netglass_testing::{har_entries, require, run};

use crate::support::{Net, Place};

const HTTPS: [&str; 5] =
    ["--dns-servers", "10.7.0.2", "--cacert", "ca.pem", "https://web.example/page"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &HTTPS].concat()
}

#[test]
fn a_page_over_tls_is_a_waterfall() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let traced = place.trace_in(&net.client, &with(&[]));
    traced.assert_says(
        0,
        &[
            "GET https://web.example/page: 200 OK, HTTP/2, 1000 B in ",
            "\nlookup ",
            "web.example: 10.7.0.2, from 10.7.0.2:53\n",
            "\nconnect ",
            "10.7.0.2:443 from 10.7.0.1:",
            "\ntls ",
            "TLSv1.3, ",
            ", h2\n",
            "certificate of CN=web.example",
            " days left, signed by CN=Test Authority",
            "\nwait ",
            "\nresponse ",
        ],
    );
    assert_eq!(traced.stderr, "");
    let verbose = place.trace_in(&net.client, &with(&["-v", "--compressed"]));
    verbose.assert_says(
        0,
        &["web.example. A? of 10.7.0.2:53", "web.example. ", "tls         offered h2, http/1.1"],
    );
    verbose.assert_says(0, &["for web.example", "gzip of "]);
    let old = place.trace_in(&net.client, &with(&["--http1.1"]));
    old.assert_says(0, &["200 OK, HTTP/1.1, 1000 B in ", "\nrequest "]);
}

#[test]
fn all_formats_tell_the_same() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let in_format = |format| place.trace_in(&net.client, &with(&["--format", format]));

    let json = in_format("json").object();
    assert_eq!(json["schema"], 1);
    let request = &json["requests"][0];
    assert_eq!((&request["status"], &request["version"]), (&200.into(), &"HTTP/2".into()));
    assert_eq!(json["tls"][0]["certificates"][0]["names"][0], "web.example");

    let nettrace = in_format("nettrace").object();
    assert_eq!(nettrace["httpRequests"][0]["respStatusCode"], 200);
    assert_eq!(nettrace["tlsTunnels"][0]["negotiatedProto"], "h2");

    let har = in_format("har");
    let entries = har_entries(&har.stdout);
    assert_eq!(entries.len(), 1, "{har:?}");
    assert_eq!(entries[0]["response"]["content"]["size"], 1000);
    assert_eq!(entries[0]["serverIPAddress"], "10.7.0.2");
    for phase in ["dns", "connect", "ssl", "send", "wait", "receive"] {
        assert!(entries[0]["timings"][phase].as_f64().unwrap() >= 0.0, "{phase}: {entries:?}");
    }

    let otlp = in_format("otlp").object();
    let spans = otlp["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    for name in ["GET", "lookup", "connect", "attempt", "tls", "wait", "response"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}

#[test]
fn packets_are_written_and_can_be_decrypted() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"), command("tshark"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let tshark = |filter: &str| {
        let file = place.path("out.pcapng").display().to_string();
        run(Command::new("tshark").args(["-r", &file, "-Y", filter]))
    };
    let traced = place.trace_in(&net.client, &with(&["--pcap", "out.pcapng"]));
    traced.assert_says(0, &["200 OK"]);
    assert_eq!(traced.stderr, "");
    assert!(tshark("tls.handshake.type == 1").contains("10.7.0.2"));
    assert!(tshark("dns").contains("web.example"));
    assert_eq!(tshark("http2.headers"), "");
    let traced = place.trace_in(&net.client, &with(&["--pcap", "out.pcapng", "--show-secrets"]));
    traced.assert_says(0, &["200 OK"]);
    assert!(tshark("http2.headers").contains("GET /page"), "{}", tshark(""));
}

#[test]
fn redirects_are_a_chain_where_they_are_followed() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let [dns, server, ca, file, _] = HTTPS;
    let url = "https://web.example/there";
    let alone = place.trace_in(&net.client, &[dns, server, ca, file, url]);
    alone.assert_says(0, &["/there: 302 Found, HTTP/2"]);
    assert_eq!(alone.stdout.matches("GET ").count(), 1);
    let followed = place.trace_in(&net.client, &[dns, server, ca, file, url, "-L"]);
    followed.assert_says(0, &["/there: 302 Found, HTTP/2", "/page: 200 OK, HTTP/2, 1000 B"]);
    followed.assert_says(0, &["on a connection that was open"]);
}

#[test]
fn what_an_address_that_is_lost_costs_is_told() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let url = "http://both.example/page";
    let traced = place.trace_in(&net.client, &["--dns-servers", "10.7.0.2", url]);
    traced.assert_says(
        0,
        &[
            "[2001:db8:7::dead]:80 abandoned: ",
            "10.7.0.2:80 (the other family) won",
            "lost with other",
        ],
    );
    let traced = place.trace_in(&net.client, &["-4", "--dns-servers", "10.7.0.2", url]);
    traced.assert_says(0, &["200 OK"]);
    assert!(!traced.stdout.contains("2001:db8:7"), "{traced:?}");
}
