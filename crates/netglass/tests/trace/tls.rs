//! Certificates, ours and theirs, and what becomes of the secrets.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use netglass_testing::{Running, require, run};

use crate::support::{Ended, Net, Place, Server, answer};

#[test]
fn a_server_that_wants_our_certificate_gets_it() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let usual = ["--cacert", "ca.pem", "https://10.7.0.2:444/page"];
    let trace = |more: &[&str]| place.trace_in(&net.client, &[more, &usual].concat());
    let asked = "it asked for our certificate";
    trace(&[]).assert_says(0, &["400 Bad Request, HTTP/1.1", asked]);
    let own = ["--cert", "client.pem", "--key", "client-key.pem"];
    trace(&own).assert_says(0, &["200 OK, HTTP/1.1, 1000 B", asked]);
    let both = [place.path("client.pem"), place.path("client-key.pem")];
    place.file("both.pem", both.map(|path| fs::read_to_string(path).unwrap()).concat());
    trace(&["--cert", "both.pem"]).assert_says(0, &["200 OK, HTTP/1.1, 1000 B", asked]);
    let mixed = trace(&["--cert", "client.pem", "--key", "key.pem"]);
    assert_eq!(mixed.status, 2, "{mixed:?}");
    assert!(mixed.stderr.contains("tls.client_certificate"), "{mixed:?}");
}

#[test]
fn an_authority_that_nobody_knows_is_told() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let arguments = ["--dns-servers", "10.7.0.2", "https://web.example/page"];
    let traced = place.trace_in(&net.client, &arguments);
    traced.assert_says(
        6,
        &[
            "we sent the alert UnknownCA",
            "certificate of CN=web.example",
            "TLS handshake failed: web.example (10.7.0.2:443) has a certificate",
            "nobody that is trusted signed its certificate",
            "a private authority is named with --cacert",
        ],
    );
}

#[test]
fn a_collector_is_spoken_to_over_tls() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let arguments = ["--collector", "https://10.7.0.2", "http://10.7.0.2/page"];
    let trace = |authorities: &str| {
        let mut command = place.netglass_in(&net.client, &arguments);
        command.env("SSL_CERT_FILE", place.path(authorities));
        Ended::of(Running::spawn(command).wait())
    };
    let sent = trace("ca.pem");
    sent.assert_says(0, &["200 OK"]);
    assert_eq!(sent.stderr, "");
    let log = fs::read_to_string(place.path("traces.log")).unwrap();
    assert!(log.contains("\"POST /v1/traces HTTP/1.1\" 200"), "{log}");
    place.file("none.pem", "");
    let untrusted = trace("none.pem");
    untrusted.assert_says(1, &["200 OK"]);
    let parts = ["sending spans to the collector https://10.7.0.2", "nobody that is trusted"];
    assert!(parts.iter().all(|part| untrusted.stderr.contains(part)), "{untrusted:?}");
}

#[test]
fn secrets_go_where_the_environment_says() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"), command("tshark"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    let arguments = ["--pcap", "out.pcapng", "--cacert", "ca.pem", "https://10.7.0.2/page"];
    let mut command = place.netglass_in(&net.client, &arguments);
    command.env("SSLKEYLOGFILE", place.path("secrets"));
    Ended::of(Running::spawn(command).wait()).assert_says(0, &["200 OK"]);
    let mode = fs::metadata(place.path("secrets")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = |name: &str| place.path(name).display().to_string();
    let secrets = format!("tls.keylog_file:{}", file("secrets"));
    let shown = |more: &[&str]| {
        let packets = file("out.pcapng");
        run(Command::new("tshark").args(["-r", &packets, "-Y", "http2.headers"]).args(more))
    };
    assert_eq!(shown(&[]), "");
    assert!(shown(&["-o", &secrets]).contains("GET /page"));
}

#[test]
fn a_file_for_secrets_that_cannot_be_is_told() {
    let place = Place::new();
    let server = Server::new([&*answer("page")]);
    let asked = |path: &str| {
        let mut command = place.netglass(&[&server.url("/")]);
        command.env("SSLKEYLOGFILE", path);
        Ended::of(Running::spawn(command).wait())
    };
    let traced = asked("/nowhere/secrets");
    assert_eq!((traced.status, traced.stdout.as_str()), (2, ""), "{traced:?}");
    assert!(traced.stderr.contains("/nowhere/secrets"), "{traced:?}");
    asked("").assert_says(0, &["200 OK"]);
}
