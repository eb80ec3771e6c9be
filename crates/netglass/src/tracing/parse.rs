//! Values of options as they are written.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::places::{ConnectTo, Resolve};
use crate::{time::parse_duration, usage::UsageError};

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// A duration with its unit, or seconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let Ok(seconds) = text.trim().parse::<f64>() else { return parse_duration(text) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration must be longer than nothing, and end some day".to_owned()),
    }
}

/// Parts between colons; those within brackets belong to an address.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let is_end = |character: char| {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ':' && depth == 0
    };
    text.split(is_end).collect()
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("'{text}' is no port: those are numbers from 1 to 65535"))
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address = text.trim_start_matches('[').trim_end_matches(']');
    address.parse().map_err(|_| format!("'{text}' is neither an IPv4 nor an IPv6 address"))
}

/// Understands `HOST:PORT:ADDRESS[,ADDRESS]...`.
pub(super) fn parse_resolve(text: &str) -> Result<Resolve, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(host), Some(port), Some(addresses)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err("give HOST:PORT:ADDRESS, like example.org:443:192.0.2.1".to_owned());
    };
    if host.is_empty() {
        return Err("there is no host before the first colon".to_owned());
    }
    let addresses = addresses.split(',').map(str::trim).map(parse_address);
    Ok(Resolve {
        place: (host.to_ascii_lowercase(), parse_port(port)?),
        addresses: addresses.collect::<Result<_, _>>()?,
    })
}

/// Understands `HOST:PORT:HOST:PORT`, of which each may be empty.
pub(super) fn parse_connect_to(text: &str) -> Result<ConnectTo, String> {
    let [from_host, from_port, to_host, to_port] = parts(text)[..] else {
        return Err(
            "give HOST:PORT:HOST:PORT, like example.org:443:192.0.2.1:8443, an IPv6 address in \
                    brackets"
                .to_owned(),
        );
    };
    let host = |text: &str| (!text.is_empty()).then(|| text.to_ascii_lowercase());
    let port = |text: &str| Some(text).filter(|text| !text.is_empty()).map(parse_port).transpose();
    Ok(ConnectTo { from: (host(from_host), port(from_port)?), to: (host(to_host), port(to_port)?) })
}

/// Understands an address, also with a port.
pub(super) fn parse_nameserver(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let address = text.parse().or_else(|_| parse_address(text).map(|it| (it, DNS_PORT).into()));
    address.map_err(|reason| {
        format!("{reason}; give one with or without a port, like 192.0.2.53 or [2001:db8::53]:5353")
    })
}

/// Understands a URL, which may lack its scheme.
pub(super) fn parse_url(text: &str, usual_scheme: &str) -> Result<Url, UsageError> {
    let whole =
        if text.contains("://") { text.to_owned() } else { format!("{usual_scheme}://{text}") };
    // What is wrong with it is told without it: it may hold a password.
    let url = Url::parse(&whole).map_err(|reason| {
        UsageError(format!("cannot understand a URL that was given: {reason}"))
    })?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UsageError("a URL that was given has no host".to_owned()));
    }
    Ok(url)
}

/// Understands `Name: value`, and `Name;` of which the value is empty.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), UsageError> {
    let wrong = |reason: String| UsageError(format!("cannot understand --header: {reason}"));
    let (name, value) = match (text.split_once(':'), text.strip_suffix(';')) {
        (Some((name, value)), _) => (name, value.trim()),
        (None, Some(name)) => (name, ""),
        (None, None) => return Err(wrong("give 'Name: value'".to_owned())),
    };
    let name = name.trim();
    let header = name
        .parse()
        .map_err(|_| wrong(format!("'{}' cannot be a name", netglass_model::printable(name))))?;
    let value: HeaderValue =
        value.parse().map_err(|_| wrong(format!("the value of {name} has control characters")))?;
    Ok((header, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        let milliseconds = |text| parse_time(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("2"), Ok(2_000));
        assert_eq!(milliseconds("0.25"), Ok(250));
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(milliseconds("1m"), Ok(60_000));
        for text in ["0", "-1", "NaN", "inf", "1e300", "soon"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_have_a_host_a_port_and_addresses() {
        let resolve = |text| parse_resolve(text).map(|it| (it.place, it.addresses));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            resolve("Example.org:443:192.0.2.1,[2001:db8::1]"),
            Ok((
                ("example.org".to_owned(), 443),
                vec![address("192.0.2.1"), address("2001:db8::1")]
            ))
        );
        assert!(resolve("a:443:::1").is_ok());
        for text in ["", "a", "a:443", ":443:192.0.2.1", "a:0:192.0.2.1", "a:443:b", "a:443:"] {
            assert!(resolve(text).is_err(), "{text}");
        }
        let connect = |text| parse_connect_to(text).map(|it| (it.from, it.to));
        assert_eq!(connect(":::"), Ok(((None, None), (None, None))));
        assert_eq!(
            connect("A:80:[::1]:81"),
            Ok(((Some("a".to_owned()), Some(80)), (Some("[::1]".to_owned()), Some(81))))
        );
        for text in ["", "a:80", "a:80:b", "a:80:b:81:c", "a:x:b:81", "a:80:::1:81"] {
            assert!(connect(text).is_err(), "{text}");
        }
    }

    #[test]
    fn name_servers_have_a_port() {
        let server = |text| parse_nameserver(text).map(|server| server.to_string());
        assert_eq!(server("192.0.2.53"), Ok("192.0.2.53:53".to_owned()));
        assert_eq!(server("192.0.2.53:5353"), Ok("192.0.2.53:5353".to_owned()));
        assert_eq!(server("::1"), Ok("[::1]:53".to_owned()));
        assert_eq!(server("[::1]:54"), Ok("[::1]:54".to_owned()));
        assert!(server("dns.example").unwrap_err().contains("neither"));
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let header = |text| {
            parse_header(text)
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .ok()
        };
        assert_eq!(header("X-One: two: three"), Some("x-one=two: three".to_owned()));
        assert_eq!(header("X-One;"), Some("x-one=".to_owned()));
        for text in ["", "X-One", ": a", "a b: c", "a: b\r\nc: d"] {
            assert_eq!(header(text), None, "{text}");
        }
    }

    #[test]
    fn a_url_that_is_wrong_is_not_told() {
        assert_eq!(
            parse_url("example.org:8080/a", "http").unwrap().as_str(),
            "http://example.org:8080/a"
        );
        for text in ["http://u:SECRET@/", "http://u:SECRET@h:99999/", "", "http://"] {
            let refused = parse_url(text, "http").unwrap_err().to_string();
            assert!(!refused.contains("SECRET"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in ".*") {
            let _ = parse_time(&text);
            let _ = parse_resolve(&text);
            let _ = parse_connect_to(&text);
            let _ = parse_nameserver(&text);
            let _ = parse_url(&text, "http");
            let _ = parse_header(&text);
        }
    }
}
