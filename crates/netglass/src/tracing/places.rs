//! Where connections go to instead of where the URL says.

use std::{collections::HashMap, net::IpAddr};

use url::{Host, Url};

/// A host by its name or address, and a port.
pub(super) type Place = (String, u16);

/// The addresses of a place whose name is not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolve {
    pub(super) place: Place,
    pub(super) addresses: Vec<IpAddr>,
}

/// Where to connect to instead; what is not there stands for any, and for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectTo {
    pub(super) from: (Option<String>, Option<u16>),
    pub(super) to: (Option<String>, Option<u16>),
}

/// The place that a URL names.
pub(super) fn place(url: &Url) -> Option<Place> {
    let host = match url.host()? {
        Host::Domain(name) => name.to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => format!("[{address}]"),
    };
    Some((host, url.port_or_known_default()?))
}

/// What the first rule that fits says of each of `urls`. A rule that names a place whole holds for
/// redirects to it, too.
pub(super) fn connect_to(rules: &[ConnectTo], urls: &[Url]) -> HashMap<Place, Place> {
    let mut places: Vec<Place> = urls.iter().filter_map(place).collect();
    places.extend(rules.iter().filter_map(|rule| rule.from.0.clone().zip(rule.from.1)));
    let mut map = HashMap::new();
    for (host, port) in places {
        let fits = |rule: &&ConnectTo| {
            let (from_host, from_port) = &rule.from;
            from_host.as_ref().is_none_or(|from| *from == host)
                && from_port.is_none_or(|from| from == port)
        };
        if let Some(rule) = rules.iter().find(fits) {
            let to_host = rule.to.0.clone().unwrap_or_else(|| host.clone());
            let to = (to_host.trim_matches(['[', ']']).to_owned(), rule.to.1.unwrap_or(port));
            map.insert((host, port), to);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse_connect_to;
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let urls = ["http://A.example/", "https://b.example:8443/", "http://[::1]/"];
        let urls = urls.map(|url| Url::parse(url).unwrap());
        let rules = ["a.example:80:c.example:81", "::[::1]:", "d.example:1:e.example:2"];
        let rules = rules.map(|rule| parse_connect_to(rule).unwrap());
        let map = connect_to(&rules, &urls);
        let to = |host: &str, port| map.get(&(host.to_owned(), port)).cloned();
        let place = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(to("a.example", 80), place("c.example", 81));
        assert_eq!(to("b.example", 8443), place("::1", 8443));
        assert_eq!(to("[::1]", 80), place("::1", 80));
        assert_eq!(to("d.example", 1), place("::1", 1), "the second rule is for any place");
    }
}
