//! Requests that go through a proxy, as it and its user see them.

use std::{fs, net::SocketAddr};

use netglass_testing::{BigQuery, Proxied, Proxy, ProxyOptions, require};

use crate::support::{Place, Server, answer};

const NAME: &str = "web.example";

/// A proxy that knows a server by its name, and that server.
fn before(server: &Server, proxy: ProxyOptions) -> Proxy {
    proxy.host(NAME, server.address).credentials("bob:w%rd").start()
}

/// `w%rd`, as it is written in a URL.
const CREDENTIALS: &str = "bob:w%25rd";

fn asked(port: u16) -> Proxied {
    let credentials = Some("bob:w%rd".to_owned());
    Proxied { host: NAME.to_owned(), port, credentials, is_allowed: true }
}

#[test]
fn socks_looks_the_name_up() {
    for scheme in ["socks5", "socks5h"] {
        let place = Place::new();
        let server = Server::new([&*answer("page")]);
        let proxy = before(&server, Proxy::socks5());
        let through = format!("{scheme}://{CREDENTIALS}@{}", proxy.authority());
        let traced = place.trace(&["-x", &through, "http://web.example:8080/a"]);
        traced.assert_says(
            0,
            &[
                "200 OK, HTTP/1.1, 4 B",
                &format!("{scheme}://bob:REDACTED@"),
                "asked for web.example:8080: 0",
            ],
        );
        assert!(!traced.stdout.contains("\nlookup "), "{traced:?}");
        assert_eq!(proxy.asked(), [asked(8080)]);
        let received = server.received();
        assert!(received[0].head.starts_with("GET /a HTTP/1.1\r\n"), "{received:?}");
        assert_eq!(received[0].header("host"), Some("web.example:8080"));
    }
}

#[test]
fn credentials_that_are_wrong_are_told() {
    let place = Place::new();
    let server = Server::new([]);
    for (proxy, scheme, part) in [
        (Proxy::http(), "http", "407 Proxy Authentication Required"),
        (Proxy::socks5(), "socks5", "it does not accept the user and password"),
    ] {
        let proxy = before(&server, proxy);
        let through = format!("{scheme}://bob:other@{}", proxy.authority());
        let traced = place.trace(&["-x", &through, "https://web.example/"]);
        traced.assert_says(5, &["proxy failed: ", part, "its credentials (-x)"]);
        let through = format!("{scheme}://{}", proxy.authority());
        place.trace(&["-x", &through, "https://web.example/"]).assert_says(5, &["proxy failed: "]);
    }
}

#[test]
fn a_proxy_connects_for_tls_and_is_itself_spoken_to_over_it() {
    require!(command("openssl"));
    let place = Place::new();
    let server = BigQuery::start_encrypted();
    let address: SocketAddr = server.authority().parse().unwrap();
    for (options, scheme) in [(Proxy::http(), "http"), (Proxy::https(), "https")] {
        let proxy = options.credentials("bob:w%rd").start();
        let mut authorities = fs::read_to_string(server.root_certificate()).unwrap();
        if scheme == "https" {
            authorities += &fs::read_to_string(proxy.root_certificate()).unwrap();
        }
        place.file("authorities.pem", authorities);
        let through = format!("{scheme}://{CREDENTIALS}@{}", proxy.authority());
        let url = format!("https://{address}/page");
        let traced = place.trace(&["-x", &through, "--cacert", "authorities.pem", &url]);
        let asked_for = format!("asked for {address}: 200");
        traced.assert_says(0, &[", HTTP/2, ", &asked_for, "TLSv1.3, ", "CN=server"]);
        if scheme == "https" {
            traced.assert_says(0, &["two handshakes", "\n  proxy ", "\n  server "]);
        }
        let asked = Proxied { host: "127.0.0.1".to_owned(), ..asked(address.port()) };
        assert_eq!(proxy.asked(), [asked]);
    }
}
