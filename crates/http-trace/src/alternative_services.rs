//! The header `Alt-Svc` (RFC 7838, section 3), read with patience: it is only told of.

use http::{HeaderMap, header};

use crate::record::{AlternativeService, AlternativeServices};

/// How many services are kept.
const MAXIMUM_SERVICES: usize = 32;
/// How many bytes of the header are looked at.
const MAXIMUM_LENGTH: usize = 16 << 10;
/// How long a service holds that does not say it: a day.
const USUAL_AGE: u64 = 24 * 60 * 60;

/// The header as it came, its lines joined; and what it says.
pub(crate) fn of(headers: &HeaderMap) -> Option<(String, AlternativeServices)> {
    let mut joined = Vec::new();
    for value in headers.get_all(header::ALT_SVC) {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        let room = MAXIMUM_LENGTH.saturating_sub(joined.len());
        joined.extend_from_slice(value.as_bytes().get(..room).unwrap_or(value.as_bytes()));
    }
    if joined.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&joined).into_owned();
    let services = parse(&text);
    Some((text, services))
}

pub(crate) fn parse(text: &str) -> AlternativeServices {
    let mut services = AlternativeServices::default();
    let mut reader = Reader { rest: text };
    if let Err(malformed) = reader.read(&mut services) {
        services.malformed = Some(malformed.to_owned());
    }
    services
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn read(&mut self, services: &mut AlternativeServices) -> Result<(), &'static str> {
        self.skip_space();
        // Case matters here.
        if self.rest.trim_end_matches([' ', '\t']) == "clear" {
            services.clear = true;
            return Ok(());
        }
        loop {
            // Empty elements of a list are passed over (RFC 9110, section 5.6.1).
            self.skip_space();
            while self.take(',') {
                self.skip_space();
            }
            if self.rest.is_empty() {
                return Ok(());
            }
            let service = self.service()?;
            if services.services.len() < MAXIMUM_SERVICES {
                services.services.push(service);
            } else {
                services.dropped += 1;
            }
            self.skip_space();
            if !self.rest.is_empty() && !self.rest.starts_with(',') {
                return Err(
                    "something follows a service that is neither a parameter nor another one",
                );
            }
        }
    }

    fn service(&mut self) -> Result<AlternativeService, &'static str> {
        let protocol = self.token().ok_or("a service does not begin with a protocol")?;
        let protocol = percent_encoding::percent_decode_str(protocol).decode_utf8_lossy();
        if !self.take('=') {
            return Err("no = follows the protocol");
        }
        let authority = self.quoted().ok_or("the host and port are not in quotes")?;
        let (host, port) = authority.rsplit_once(':').ok_or("there is no port")?;
        let port = port.parse().map_err(|_| "the port is no number of 16 bits")?;
        let mut service = AlternativeService {
            protocol: protocol.into_owned(),
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
            port,
            max_age: USUAL_AGE,
            persist: false,
        };
        loop {
            self.skip_space();
            if !self.take(';') {
                return Ok(service);
            }
            self.skip_space();
            let name = self.token().ok_or("a parameter has no name")?;
            if !self.take('=') {
                return Err("a parameter has no value");
            }
            let value = match self.quoted() {
                Some(value) => value,
                None => self.token().ok_or("a parameter has no value")?.to_owned(),
            };
            match name {
                "ma" => {
                    service.max_age = value.parse().map_err(|_| "ma is no number of seconds")?;
                }
                "persist" => service.persist = value == "1",
                // Those that are not known are passed over.
                _ => {}
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// RFC 9110, section 5.6.2.
    fn token(&mut self) -> Option<&'a str> {
        let is_of_it =
            |byte: char| byte.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(byte);
        let end = self.rest.find(|byte| !is_of_it(byte)).unwrap_or(self.rest.len());
        let (token, rest) =
            self.rest.split_at_checked(end).filter(|(token, _)| !token.is_empty())?;
        self.rest = rest;
        Some(token)
    }

    /// RFC 9110, section 5.6.4. Nothing is taken where there is none.
    fn quoted(&mut self) -> Option<String> {
        let mut characters = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(characters.next()?),
                other => text.push(other),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn service(protocol: &str, host: Option<&str>, port: u16, max_age: u64) -> AlternativeService {
        let host = host.map(str::to_owned);
        AlternativeService { protocol: protocol.to_owned(), host, port, max_age, persist: false }
    }

    #[test]
    fn services_are_read_as_servers_write_them() {
        let read = parse(r#"h3=":443"; ma=2592000,h3-29=":443";ma=60, h2="alt.example:8443""#);
        let expected = [
            service("h3", None, 443, 2_592_000),
            service("h3-29", None, 443, 60),
            service("h2", Some("alt.example"), 8443, USUAL_AGE),
        ];
        assert_eq!((&read.services[..], read.malformed), (&expected[..], None));
        let read = parse(r#"w%3Dx%3Ay="[2001:db8::1]:80"; new="a\"b;,"; persist=1"#);
        assert_eq!(read.services[0].protocol, "w=x:y");
        assert_eq!(read.services[0].host.as_deref(), Some("[2001:db8::1]"));
        assert!(read.services[0].persist && read.malformed.is_none());
        assert!(parse("clear").clear && !parse("Clear").clear);
    }

    #[test]
    fn the_lines_of_a_header_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), None);
        for value in ["h3=\":443\"", "h3=\":444\""] {
            headers.append(header::ALT_SVC, HeaderValue::from_static(value));
        }
        let (text, read) = of(&headers).unwrap();
        assert_eq!((text.as_str(), read.services.len()), ("h3=\":443\", h3=\":444\"", 2));
    }

    #[test]
    fn what_is_wrong_is_told_and_what_came_before_is_kept() {
        for (text, kept) in [
            ("h3", 0),
            ("h3=:443", 0),
            ("h3=\":443", 0),
            ("h3=\":port\"", 0),
            ("h3=\"host\"", 0),
            ("h3=\":443\"; ma=soon", 0),
            ("h3=\":443\", =\":1\"", 1),
            ("h3=\":443\" h2=\":443\"", 1),
        ] {
            let read = parse(text);
            assert_eq!((read.services.len(), read.malformed.is_some()), (kept, true), "{text}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        let read = parse(&"h3=\":1\",".repeat(100));
        assert_eq!((read.services.len(), read.dropped), (MAXIMUM_SERVICES, 68));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(clear|h3|=|\"|:|;|,|ma|[0-9]|%|\\\\| |.){0,60}") {
            let read = parse(&text);
            prop_assert!(read.services.len() <= MAXIMUM_SERVICES);
        }

        #[test]
        fn what_is_written_is_read(
            list in proptest::collection::vec(("[a-z0-9-]{1,8}", "[a-z.]{0,9}", any::<u16>(), any::<u64>()), 0..9),
        ) {
            let written: Vec<String> = (list.iter())
                .map(|(protocol, host, port, age)| format!("{protocol}=\"{host}:{port}\"; ma={age}"))
                .collect();
            let read = parse(&written.join(", "));
            prop_assert_eq!(read.malformed, None);
            prop_assert_eq!(read.services.len(), list.len());
            for (service, (protocol, host, port, age)) in read.services.iter().zip(&list) {
                prop_assert_eq!(&service.protocol, protocol);
                prop_assert_eq!(service.host.as_deref().unwrap_or_default(), host);
                prop_assert_eq!((service.port, service.max_age), (*port, *age));
            }
        }
    }
}
