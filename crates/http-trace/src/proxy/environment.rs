//! The proxy that the environment names.

use std::{env, net::IpAddr};

use http::Uri;
use url::Url;

#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    http: String,
    https: String,
    all: String,
    none: String,
    /// Where a web server runs us, `HTTP_PROXY` is what its client sent as the header `Proxy`.
    in_web_server: bool,
}

impl Environment {
    pub(super) fn read() -> Self {
        let read = |name: &str| {
            let value = |name: String| env::var(name).ok().filter(|value| !value.is_empty());
            value(name.to_uppercase()).or_else(|| value(name.to_owned())).unwrap_or_default()
        };
        Self {
            http: read("http_proxy"),
            https: read("https_proxy"),
            all: read("all_proxy"),
            none: read("no_proxy"),
            in_web_server: env::var_os("REQUEST_METHOD").is_some(),
        }
    }

    pub(super) fn of(&self, url: &Uri) -> Result<Option<Url>, String> {
        let host = url.host().unwrap_or_default();
        let secure = url.scheme_str() == Some("https");
        let own = if secure { &self.https } else { &self.http };
        let chosen = if own.is_empty() { &self.all } else { own };
        if chosen.is_empty() {
            return Ok(None);
        }
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        if self.is_exempt(host, port) {
            return Ok(None);
        }
        if self.in_web_server && !secure && !self.http.is_empty() {
            return Err(
                "cannot use HTTP_PROXY: REQUEST_METHOD is set, so it may be a header that a \
                        client of a web server sent"
                    .to_owned(),
            );
        }
        // `host:3128` reads as a URL of the scheme `host`.
        let parsed = Url::parse(chosen).ok().filter(Url::has_host);
        let parsed = parsed.or_else(|| Url::parse(&format!("http://{chosen}")).ok());
        let proxy = parsed.filter(Url::has_host).ok_or_else(|| {
            "cannot use the proxy of the environment: it is no URL; write http://HOST:PORT"
                .to_owned()
        })?;
        Ok(Some(proxy))
    }

    fn is_exempt(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.none
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .any(|entry| entry == "*" || matches(&entry.to_ascii_lowercase(), &host, address, port))
    }
}

/// Whether an entry of `NO_PROXY` is about a host: an address, a network, a name with what is
/// below it, or what is below a name alone (`.name`, `*.name`); each with a port or without.
fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if let Some((network, length)) = entry.split_once('/') {
        let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u8>()) else {
            return false;
        };
        return address.is_some_and(|address| contains(network, length, address));
    }
    let (name, entry_port) = split_port(entry);
    if entry_port.is_some_and(|entry_port| entry_port != port) {
        return false;
    }
    if let Ok(entry) = name.parse::<IpAddr>() {
        return address == Some(entry);
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':').and_then(|port| port.parse().ok())),
            None => (rest, None),
        };
    }
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port.parse().ok()),
        _ => (entry, None),
    }
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32u32.saturating_sub(u32::from(length));
            let [network, address] = [network, address].map(|ip| u64::from(u32::from(ip)) >> shift);
            length <= 32 && network == address
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128u32.saturating_sub(u32::from(length));
            let [network, address] =
                [network, address].map(|ip| u128::from(ip).checked_shr(shift).unwrap_or(0));
            length <= 128 && network == address
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxy_of(none: &str, url: &str) -> Option<String> {
        let environment = Environment {
            http: "plain.test:3128".to_owned(),
            https: "https://user:word@secure.test".to_owned(),
            none: none.to_owned(),
            ..Environment::default()
        };
        environment.of(&url.parse().unwrap()).unwrap().map(|url| url.to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        assert_eq!(proxy_of("", "http://a.test/").as_deref(), Some("http://plain.test:3128/"));
        assert_eq!(
            proxy_of("", "https://a.test/").as_deref(),
            Some("https://user:word@secure.test/")
        );
        assert_eq!(proxy_of("", "http://localhost:80/"), None);
        assert_eq!(proxy_of("", "http://[::1]/"), None);
    }

    #[test]
    fn exemptions_are_names_networks_and_ports() {
        for (none, url, exempt) in [
            ("a.test", "http://a.test/", true),
            ("a.test", "http://b.a.test/", true),
            ("a.test", "http://ba.test/", false),
            (".a.test", "http://a.test/", false),
            ("*.a.test", "http://b.a.test/", true),
            ("x, 10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("fd00::/8", "http://[fd77::1]/", true),
            ("a.test:8080", "http://a.test/", false),
            ("a.test:8080", "http://a.test:8080/", true),
            ("*", "http://a.test/", true),
        ] {
            assert_eq!(proxy_of(none, url).is_none(), exempt, "{none} {url}");
        }
    }

    #[test]
    fn a_header_of_a_client_is_no_proxy() {
        let environment = Environment {
            http: "evil.test".to_owned(),
            in_web_server: true,
            ..Environment::default()
        };
        assert!(environment.of(&Uri::from_static("http://a.test/")).is_err());
    }

    proptest! {
        #[test]
        fn any_environment_is_read(http in ".{0,50}", none in "[-a-z0-9.:/\\[\\]*, ]{0,80}") {
            let environment = Environment { http, none, ..Environment::default() };
            let _ = environment.of(&Uri::from_static("http://a.test/"));
        }
    }
}
