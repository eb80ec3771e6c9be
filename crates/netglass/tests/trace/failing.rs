//! Requests that fail: the exit status and the sentence say in which layer.

use std::net::TcpListener;

use netglass_testing::{Refusing, Running, Signal, require};

use crate::support::{Ended, Net, Place, Server};

#[track_caller]
fn assert_fails(traced: &Ended, status: i32, parts: &[&str]) {
    traced.assert_says(status, &[]);
    let last = traced.stdout.lines().last().unwrap_or_default();
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in the last line of {}", traced.stdout);
    }
    assert!(last.contains("; next, "), "{last}");
}

#[test]
fn a_port_at_which_nobody_listens_is_told() {
    let place = Place::new();
    let refusing = Refusing::tcp();
    let address = refusing.address().to_string();
    let traced = place.trace(&[&address]);
    assert_fails(&traced, 4, &["connect failed: ", &address, "refused the connection", "ss -ltn"]);
}

#[test]
fn names_and_packets_that_are_lost_are_told() {
    require!(root, command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let dns = ["--dns-servers", "10.7.0.2"];
    let trace = |more: &[&str]| place.trace_in(&net.client, &[&dns, more].concat());
    assert_fails(
        &trace(&["http://none.example/"]),
        3,
        &["name lookup failed: for none.example, the name server 10.7.0.2:53 knows no address"],
    );
    assert_fails(
        &trace(&["http://web.example:81/", "--connect-timeout", "0.3"]),
        4,
        &["connect failed: web.example:81 (10.7.0.2:81) did not answer in time", "firewall"],
    );
    assert_fails(
        &trace(&["http://10.8.0.1/"]),
        4,
        &["connect failed: 10.8.0.1:80 cannot be reached", "ip route get"],
    );
    assert_fails(
        &trace(&["http://10.7.0.2/", "--interface", "10.9.9.9"]),
        4,
        &["from the source address", "ip addr"],
    );
}

#[test]
fn certificates_that_are_not_acceptable_are_told() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, true);
    let dns = ["--dns-servers", "10.7.0.2", "https://web.example/page"];
    let trace = |more: &[&str]| place.trace_in(&net.client, &[&dns, more].concat());
    let expired = trace(&["--cacert", "ca.pem"]);
    let whom = "TLS handshake failed: web.example (10.7.0.2:443) has a certificate that is not";
    assert_fails(&expired, 6, &[whom, "--cacert"]);
    expired.assert_says(
        6,
        &["certificate of CN=web.example", "expired ", " days ago, at 2021-01-01T"],
    );
    trace(&["-k"]).assert_says(0, &["200 OK, HTTP/2, 1000 B"]);
    let json = trace(&["--cacert", "ca.pem", "--format", "json"]);
    assert_eq!(json.object()["requests"][0]["error"]["layer"], "tls");
    assert!(json.stderr.starts_with(&format!("netglass: {whom}")), "{json:?}");

    let [flag, server, _] = dns;
    let plain = place.trace_in(&net.client, &[flag, server, "https://web.example:80/"]);
    assert_fails(&plain, 6, &["TLS handshake failed: ", "10.7.0.2:80", "speaks TLS at that port"]);
    let twice = ["-L", "-k", flag, server, "https://web.example/loop"];
    let endless = place.trace_in(&net.client, &twice);
    assert_eq!(endless.status, 7, "{endless:?}");
    let circle = "https://web.example/loop was requested before";
    assert_fails(&endless, 7, &["redirects more often than is followed", circle]);
    endless.assert_says(7, &["302 Found, and its redirect is not followed"]);
    assert_eq!(endless.stdout.matches("GET ").count(), 11, "{endless:?}");
    let elsewhere =
        place.trace_in(&net.client, &["-L", "-k", flag, server, "https://web.example/elsewhere"]);
    assert_fails(&elsewhere, 7, &["redirects to where nobody can go", "ftp://web.example/"]);
    assert_eq!(elsewhere.stdout.matches("GET ").count(), 1, "{elsewhere:?}");
}

#[test]
fn servers_that_are_slow_or_stop_are_told() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let slow = place.trace(&[&url, "-m", "0.3"]);
    assert_fails(&slow, 7, &["request failed: 127.0.0.1:", "did not answer in time", "-m"]);
    slow.assert_says(7, &["\nwait "]);

    let server = Server::new(["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"]);
    let cut = place.trace(&[&server.url("/")]);
    assert_fails(&cut, 8, &["response body failed: 127.0.0.1:", "closed the connection too early"]);
    cut.assert_says(8, &["200 OK, but its body is not whole"]);

    let server = Server::new(["SSH-2.0-OpenSSH_9.2\r\n"]);
    let other = place.trace(&[&server.url("/")]);
    assert_fails(&other, 7, &["request failed: ", "does not keep to the protocol"]);

    let server = Server::new([""]);
    let nothing = place.trace(&[&server.url("/")]);
    assert_fails(&nothing, 7, &["request failed: ", "closed the connection too early"]);
}

#[test]
fn a_proxy_that_says_no_is_told() {
    let place = Place::new();
    let proxy = Server::new(["HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]);
    let url = "https://web.example/";
    let traced = place.trace(&["-x", &proxy.address.to_string(), url]);
    assert_fails(&traced, 5, &["proxy failed: ", "did not connect to the server", "403"]);
    let received = proxy.received();
    assert!(received[0].head.starts_with("CONNECT web.example:443 HTTP/1.1\r\n"), "{received:?}");
}

#[test]
fn what_is_waited_for_is_told_when_it_is_interrupted() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let running = Running::spawn(place.netglass(&[&url]));
    let (_stream, _) = silent.accept().unwrap();
    running.wait_until_it_catches(Signal::INT);
    running.signal(Signal::INT);
    let traced = Ended::of(running.wait());
    traced.assert_says(9, &[&url]);
}
