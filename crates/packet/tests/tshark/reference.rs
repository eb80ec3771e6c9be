//! What tshark says of packets.

use std::{net::IpAddr, path::Path, process::Command, str::FromStr};

use netglass_model::IpProtocol;
use netglass_packet::{Fragment, Headers, TcpSegment};

const FIELDS: [&str; 33] = [
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.frag_offset",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.offset",
    "ipv6.dstopts.nxt",
    "ah.next_header",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.len",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
    "ip.flags.mf",
    "ip.id",
    "ipv6.fraghdr.more",
    "ipv6.fraghdr.ident",
    "_ws.expert.message",
];

/// What tshark shows of a packet.
pub(crate) struct Row<'a>(Vec<&'a str>);

/// tshark's output about all packets of a file.
pub(crate) fn run(file: &Path) -> String {
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-r"])
        .arg(file);
    let options = [
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "tcp.analyze_sequence_numbers:FALSE",
        "tcp.try_heuristic_first:FALSE",
    ];
    command.args(options.iter().flat_map(|option| ["-o", option]));
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What carries IP through IP.
const TUNNELS: [&str; 15] = [
    "gre",
    "erspan",
    "erspan3",
    "vxlan",
    "geneve",
    "udp",
    "eth",
    "ethertype",
    "vlan",
    "mpls",
    "llc",
    "ppp",
    "ipv6.hopopts",
    "ipv6.routing",
    "ipv6.dstopts",
];

impl<'a> Row<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self(line.split('\t').collect())
    }

    /// The protocols in it, from the outermost on.
    pub(crate) fn protocols(&self) -> &'a str {
        self.text("frame.protocols", 0).unwrap_or_default()
    }

    /// Whether tshark got no further than the headers by which flows are told apart.
    pub(crate) fn ends_in_headers(&self) -> bool {
        let last = self.protocols().rsplit(':').next().unwrap_or_default();
        let extensions = ["ipv6.hopopts", "ipv6.routing", "ipv6.fraghdr", "ipv6.dstopts"];
        ["ip", "ipv6", "icmp", "icmpv6", "tcp", "udp", "sctp"].contains(&last)
            || extensions.contains(&last)
    }

    /// Whether tshark remarks on something.
    pub(crate) fn remarks(&self, remark: &str) -> bool {
        self.all("_ws.expert.message").is_some_and(|remarks| remarks.contains(remark))
    }

    fn all(&self, field: &str) -> Option<&'a str> {
        let place = FIELDS.iter().position(|name| *name == field)?;
        self.0.get(place).copied().filter(|values| !values.is_empty())
    }

    fn text(&self, field: &str, occurrence: usize) -> Option<&'a str> {
        self.all(field)?.split('|').nth(occurrence)
    }

    fn number<T: TryFrom<u64>>(&self, field: &str) -> Option<T> {
        let text = self.text(field, 0)?;
        let number = match (text, text.strip_prefix("0x")) {
            ("True", _) => 1,
            ("False", _) => 0,
            (_, Some(hexadecimal)) => u64::from_str_radix(hexadecimal, 16).unwrap(),
            (_, None) => text.parse().unwrap(),
        };
        T::try_from(number).ok()
    }

    fn address(&self, field: &str, occurrence: usize) -> Option<IpAddr> {
        self.text(field, occurrence).map(|text| IpAddr::from_str(text).unwrap())
    }

    /// The versions of IP that carry each other, from the outermost on.
    fn versions(&self) -> Vec<&'a str> {
        let is_ip = |protocol: &&str| ["ip", "ipv6"].contains(protocol);
        let mut protocols = self.protocols().split(':').skip_while(|protocol| !is_ip(protocol));
        let through = protocols.by_ref().take_while(|it| is_ip(it) || TUNNELS.contains(it));
        through.filter(is_ip).collect()
    }

    /// The addresses of the innermost IP datagram that tshark shows them of.
    pub(crate) fn innermost_addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let versions = self.versions();
        let addresses = |(place, version): (usize, &&str)| {
            let occurrence = versions.iter().take(place).filter(|it| *it == version).count();
            let source = self.address(&format!("{version}.src"), occurrence)?;
            Some((source, self.address(&format!("{version}.dst"), occurrence)?))
        };
        versions.iter().enumerate().rev().find_map(addresses)
    }

    /// The headers of its outermost IP datagram.
    pub(crate) fn headers(&self) -> Option<Headers> {
        let version = *self.versions().first()?;
        let (protocol, fragment) = if version == "ip" {
            (self.number("ip.proto")?, Some(self.fragment_of_ipv4()?))
        } else {
            self.behind_extensions()?
        };
        let fragment = fragment.filter(|fragment| fragment.more || fragment.is_later());
        let mut headers = Headers {
            source: self.address(&format!("{version}.src"), 0)?,
            destination: self.address(&format!("{version}.dst"), 0)?,
            protocol: IpProtocol(protocol),
            source_port: 0,
            destination_port: 0,
            fragment,
            tcp: None,
        };
        if fragment.is_some_and(Fragment::is_later) {
            return Some(headers);
        }
        let of_icmp = |kind, code| {
            Some(self.number::<u16>(kind)? << 8 | self.number::<u16>(code).unwrap_or(0))
        };
        let (source, destination) = match headers.protocol {
            IpProtocol::TCP => (self.number("tcp.srcport"), self.number("tcp.dstport")),
            IpProtocol::UDP => (self.number("udp.srcport"), self.number("udp.dstport")),
            IpProtocol::SCTP => (self.number("sctp.srcport"), self.number("sctp.dstport")),
            IpProtocol::ICMPV4 => (None, of_icmp("icmp.type", "icmp.code")),
            IpProtocol::ICMPV6 => (None, of_icmp("icmpv6.type", "icmpv6.code")),
            _ => (None, None),
        };
        headers.source_port = source.unwrap_or(0);
        headers.destination_port = destination.unwrap_or(0);
        if headers.protocol == IpProtocol::TCP {
            headers.tcp = self.tcp();
        }
        Some(headers)
    }

    fn fragment_of_ipv4(&self) -> Option<Fragment> {
        Some(Fragment {
            identification: self.number("ip.id")?,
            // tshark counts in units of eight bytes.
            offset: self.number::<u16>("ip.frag_offset")? * 8,
            more: self.number::<u8>("ip.flags.mf")? == 1,
        })
    }

    fn behind_extensions(&self) -> Option<(u8, Option<Fragment>)> {
        let mut protocol = self.number("ipv6.nxt")?;
        let mut fragment = None;
        // Each kind is there once.
        for _ in 0..5 {
            let next = match protocol {
                0 => self.number("ipv6.hopopts.nxt"),
                43 => self.number("ipv6.routing.nxt"),
                44 => self.number("ipv6.fraghdr.nxt"),
                51 => self.number("ah.next_header"),
                60 => self.number("ipv6.dstopts.nxt"),
                _ => None,
            };
            let Some(next) = next else { break };
            if protocol == 44 {
                fragment = Some(Fragment {
                    identification: self.number("ipv6.fraghdr.ident")?,
                    offset: self.number::<u16>("ipv6.fraghdr.offset")? * 8,
                    more: self.number::<u8>("ipv6.fraghdr.more")? == 1,
                });
            }
            protocol = next;
            if fragment.is_some_and(Fragment::is_later) {
                break;
            }
        }
        Some((protocol, fragment))
    }

    /// The length of a segment that tshark has only the first fragment of is zero.
    fn tcp(&self) -> Option<TcpSegment> {
        Some(TcpSegment {
            sequence: self.number("tcp.seq_raw")?,
            acknowledgment: self.number("tcp.ack_raw")?,
            flags: u8::try_from(self.number::<u16>("tcp.flags")? & 0xff).unwrap(),
            payload: self.number("tcp.len").unwrap_or(0),
        })
    }
}
