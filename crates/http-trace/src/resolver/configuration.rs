//! What the system says of names: `resolv.conf(5)`, `hosts(5)`, `nsswitch.conf(5)`.

use std::{
    fs,
    io::Read,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

/// The most of such a file that is read.
const LONGEST_FILE: u64 = 4 << 20;
/// The most name servers that are asked (`MAXNS`).
const MAXIMUM_NAMESERVERS: usize = 3;
/// The most dots that a name may be wanted to have.
const MAXIMUM_DOTS: u32 = 15;

/// `resolv.conf(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Configuration {
    pub(crate) nameservers: Vec<SocketAddr>,
    /// With a final dot each.
    pub(crate) search: Vec<String>,
    /// With as many dots a name is first taken as it is.
    pub(crate) dots: usize,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) rotate: bool,
    pub(crate) one_at_a_time: bool,
    pub(crate) tcp_alone: bool,
    pub(crate) trust_authentic_data: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            one_at_a_time: false,
            tcp_alone: false,
            trust_authentic_data: false,
        }
    }
}

impl Configuration {
    pub(crate) fn read(path: &Path) -> Self {
        let mut configuration =
            read_file(path).map_or_else(Self::default, |text| Self::parse(&text));
        if configuration.nameservers.is_empty() {
            configuration.nameservers = vec![
                SocketAddr::from(([127, 0, 0, 1], 53)),
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 53)),
            ];
        }
        if configuration.search.is_empty() {
            configuration.search = domain_of_host().into_iter().collect();
        }
        configuration
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut configuration = Self::default();
        for line in text.lines().filter(|line| !line.starts_with([';', '#'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(parse_address);
                    let room = configuration.nameservers.len() < MAXIMUM_NAMESERVERS;
                    configuration
                        .nameservers
                        .extend(address.filter(|_| room).map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("domain") => configuration.search = words.take(1).filter_map(rooted).collect(),
                Some("search") => configuration.search = words.filter_map(rooted).collect(),
                Some("options") => words.for_each(|option| configuration.option(option)),
                _ => {}
            }
        }
        configuration
    }

    fn option(&mut self, option: &str) {
        let number = |text: &str| {
            text.parse::<i32>().ok().and_then(|number| u32::try_from(number.max(0)).ok())
        };
        match option.split_once(':') {
            Some(("ndots", value)) => {
                if let Some(dots) = number(value) {
                    self.dots = dots.min(MAXIMUM_DOTS) as usize;
                }
            }
            Some(("timeout", value)) => {
                if let Some(seconds) = number(value) {
                    self.timeout = Duration::from_secs(u64::from(seconds.max(1)));
                }
            }
            Some(("attempts", value)) => {
                if let Some(attempts) = number(value) {
                    self.attempts = attempts.clamp(1, 100);
                }
            }
            None => match option {
                "rotate" => self.rotate = true,
                "single-request" | "single-request-reopen" => self.one_at_a_time = true,
                "use-vc" | "usevc" | "tcp" => self.tcp_alone = true,
                "trust-ad" => self.trust_authentic_data = true,
                _ => {}
            },
            Some(_) => {}
        }
    }

    /// The names to ask for, in order, each with its final dot.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        const LONGEST: usize = 254;
        let rooted = name.ends_with('.');
        if name.len() > LONGEST || (name.len() == LONGEST && !rooted) {
            return Vec::new();
        }
        // RFC 7686.
        let may_be_asked =
            |name: &String| !name.trim_end_matches('.').to_ascii_lowercase().ends_with(".onion");
        if rooted {
            return Some(name.to_owned()).filter(may_be_asked).into_iter().collect();
        }
        let itself = format!("{name}.");
        let with_suffix = self
            .search
            .iter()
            .map(|suffix| if suffix == "." { itself.clone() } else { format!("{itself}{suffix}") });
        let mut names: Vec<String> = with_suffix.filter(|name| name.len() <= LONGEST).collect();
        if name.matches('.').count() >= self.dots {
            names.insert(0, itself);
        } else {
            names.push(itself);
        }
        names.retain(may_be_asked);
        names
    }
}

fn rooted(name: &str) -> Option<String> {
    (!name.is_empty())
        .then(|| if name.ends_with('.') { name.to_owned() } else { format!("{name}.") })
}

fn parse_address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

fn domain_of_host() -> Option<String> {
    let name = read_file(Path::new("/proc/sys/kernel/hostname"))?;
    let (_, domain) = name.trim().split_once('.')?;
    rooted(domain)
}

pub(super) fn read_file(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LONGEST_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses that `hosts(5)` has for a name, and the first name of them.
pub(super) fn hosts_of(text: &str, name: &str) -> Option<(Vec<IpAddr>, String)> {
    let name = name.trim_end_matches('.');
    let mut addresses = Vec::new();
    let mut canonical = None;
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(parse_address) else { continue };
        let mut names = words.map(|name| name.trim_end_matches('.'));
        let Some(first) = names.next() else { continue };
        if first.eq_ignore_ascii_case(name) || names.any(|other| other.eq_ignore_ascii_case(name)) {
            canonical.get_or_insert_with(|| first.to_owned());
            addresses.push(address);
        }
    }
    Some((addresses, canonical?))
}

/// Where names are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Files,
    Dns,
}

/// In which order, as `nsswitch.conf(5)` says.
pub(super) fn order_of(text: &str) -> Vec<Source> {
    let mut order = Vec::new();
    let hosts = text.lines().find_map(|line| line.trim_start().strip_prefix("hosts:"));
    for word in
        hosts.unwrap_or_default().split('#').next().unwrap_or_default().split_ascii_whitespace()
    {
        let source = match word {
            "files" => Source::Files,
            "dns" | "resolve" => Source::Dns,
            _ => continue,
        };
        if !order.contains(&source) {
            order.push(source);
        }
    }
    if order.is_empty() { vec![Source::Files, Source::Dns] } else { order }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_that_the_system_says_is_understood() {
        let configuration = Configuration::parse(
            "# comment\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n\
             domain example.com\nsearch a.example b.example.\n\
             options ndots:2 timeout:0 attempts:0 rotate single-request use-vc trust-ad unknown:1\n",
        );
        assert_eq!(
            configuration,
            Configuration {
                nameservers: ["10.0.0.1:53", "[fe80::1]:53", "10.0.0.3:53"]
                    .map(|text| text.parse().unwrap())
                    .to_vec(),
                search: vec!["a.example.".to_owned(), "b.example.".to_owned()],
                dots: 2,
                timeout: Duration::from_secs(1),
                attempts: 1,
                rotate: true,
                one_at_a_time: true,
                tcp_alone: true,
                trust_authentic_data: true,
            }
        );
    }

    #[test]
    fn a_name_is_asked_for_with_each_suffix_and_first_as_it_is_when_it_has_dots() {
        let configuration = Configuration::parse("search a.test b.test");
        assert_eq!(configuration.names("www"), ["www.a.test.", "www.b.test.", "www."]);
        assert_eq!(
            configuration.names("www.test"),
            ["www.test.", "www.test.a.test.", "www.test.b.test."]
        );
        assert_eq!(configuration.names("www.test."), ["www.test."]);
        assert_eq!(configuration.names("hidden.onion").len(), 2);
        assert!(configuration.names(&"a".repeat(255)).is_empty());
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let text = "10.0.0.1 one.test One # two.test\nfd00::1 first two.test\n10.0.0.2\tone.test\n";
        let expected =
            ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
        assert_eq!(hosts_of(text, "ONE.TEST."), Some((expected, "one.test".to_owned())));
        assert_eq!(hosts_of(text, "two.test").map(|(_, name)| name), Some("first".to_owned()));
        assert_eq!(hosts_of(text, "three.test"), None);
    }

    #[test]
    fn the_order_is_that_of_the_hosts_line() {
        assert_eq!(
            order_of("passwd: files\nhosts: mymachines dns [!UNAVAIL=return] files"),
            [Source::Dns, Source::Files]
        );
        assert_eq!(order_of("hosts: files"), [Source::Files]);
        assert_eq!(order_of(""), [Source::Files, Source::Dns]);
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in ".{0,400}", name in ".{0,300}") {
            let configuration = Configuration::parse(&text);
            prop_assert!(configuration.attempts >= 1);
            prop_assert!(configuration.names(&name).len() <= configuration.search.len() + 1);
            hosts_of(&text, &name);
            prop_assert!(!order_of(&text).is_empty());
        }
    }
}
