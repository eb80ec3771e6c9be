//! Where events come from, which are wanted, and how they are shown.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum, builder::BoolishValueParser};
use netglass_cilium::{
    AddressPrefix, Criteria, Level, MessageType, Options, Protocol, Release, Style, drop_reasons,
};
use netglass_model::Timestamp;

use crate::{
    time::{Moment, parse_duration},
    usage::UsageError,
};

/// Where events come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArguments {
    #[expect(clippy::doc_markdown, reason = "shown as it is")]
    /// Socket of a Cilium agent [default: /var/run/cilium/monitor1_2.sock, else monitor.sock beside it]
    #[arg(long, env = "NETGLASS_SOCKET", value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    #[expect(clippy::doc_markdown, reason = "shown as it is")]
    /// Perf event array that a datapath is pinned with, like /sys/fs/bpf/tc/globals/cilium_events. Whoever
    /// read it before, as Cilium's agent does, gets nothing any more
    #[arg(long, env = "NETGLASS_MAP", value_name = "PATH")]
    pub(super) map: Option<PathBuf>,

    #[expect(clippy::doc_markdown, reason = "shown as it is")]
    /// File to read instead: what a socket sent, lines of JSON with hex, cpu, payload_type and lost, or what
    /// -w wrote; - is standard input
    #[arg(short = 'r', long = "read", env = "NETGLASS_READ", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,

    /// For how long is waited until a socket that was closed is opened again
    #[arg(long, env = "NETGLASS_RECONNECT", value_name = "DURATION", default_value = "12s")]
    #[arg(value_parser = parse_duration)]
    pub(super) reconnect: Duration,

    #[command(flatten)]
    pub(super) kernel: KernelArguments,
}

/// Our own datapath.
#[derive(Debug, Args)]
pub(crate) struct KernelArguments {
    /// This host's own kernel, without Cilium: what it drops, and with -i also what comes by
    #[arg(long, env = "NETGLASS_KERNEL", value_parser = BoolishValueParser::new())]
    pub(super) kernel: bool,

    /// With --kernel, packets that come by these interfaces, in whatever network namespace, and drops at
    /// these alone: names, patterns like 'veth*', or any
    #[arg(short = 'i', long = "interface", env = "NETGLASS_MONITOR_INTERFACE")]
    #[arg(value_name = "INTERFACE", value_delimiter = ',', requires = "kernel")]
    pub(super) interfaces: Vec<String>,

    /// With --kernel, in these network namespaces alone: names as of `ip netns`, or inodes
    #[arg(long = "netns", env = "NETGLASS_MONITOR_NETNS", value_name = "NAMESPACE")]
    #[arg(value_delimiter = ',', requires = "kernel")]
    pub(super) namespaces: Vec<String>,

    /// With --kernel, how many bytes of a packet are taken
    #[arg(long = "capture-len", env = "NETGLASS_CAPTURE_LEN", value_name = "BYTES")]
    #[arg(default_value = "128", value_parser = clap::value_parser!(u32).range(0..=9216))]
    pub(super) capture_length: u32,
}

/// How events are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Lines")]
pub(crate) struct LineArguments {
    /// Show debug messages and translated sockets, too; twice, packets layer by layer
    #[arg(short, long, env = "NETGLASS_VERBOSE", action = ArgAction::Count)]
    verbose: u8,

    /// Show one JSON object a line
    #[arg(short, long, env = "NETGLASS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// With -vv, show packets as bytes
    #[arg(long, env = "NETGLASS_HEX", value_parser = BoolishValueParser::new())]
    hex: bool,

    /// Show identities as numbers
    #[arg(short, long, env = "NETGLASS_NUMERIC", value_parser = BoolishValueParser::new())]
    numeric: bool,

    /// Show what this release of Cilium prints, byte for byte, with its faults
    #[arg(long, env = "NETGLASS_COMPAT", value_name = "RELEASE")]
    compat: Option<Compatible>,

    /// The release that made the events [default: told from them, else the newest]
    #[arg(long, env = "NETGLASS_CILIUM_VERSION", value_name = "RELEASE")]
    #[arg(conflicts_with = "compat")]
    cilium_version: Option<Release>,

    /// Show no events, but their drops counted: at the end, or each time after so long
    #[arg(long, env = "NETGLASS_SUMMARY", value_name = "INTERVAL", num_args = 0..=1)]
    #[arg(default_missing_value = "end", value_parser = parse_summary)]
    pub(super) summary: Option<Summary>,

    /// Write the events that are wanted to a recording, too, to be read with -r; - is standard output
    #[arg(short = 'w', long = "write", env = "NETGLASS_WRITE", value_name = "FILE")]
    pub(super) recording: Option<PathBuf>,
}

/// A release whose lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compatible {
    /// Of June 2019
    #[value(name = "1.5")]
    V1_5,
    /// As of May 2026
    #[value(name = "1.20")]
    V1_20,
}

/// When drops are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summary {
    /// At the end.
    End,
    /// Each time after so long, and at the end.
    Each(Duration),
}

fn parse_summary(text: &str) -> Result<Summary, String> {
    match text.trim() {
        "end" => Ok(Summary::End),
        seconds if seconds.bytes().all(|byte| byte.is_ascii_digit()) && seconds != "0" => {
            let seconds = seconds.parse().map_err(|_| "too many seconds".to_owned())?;
            Ok(Summary::Each(Duration::from_secs(seconds)))
        }
        text => parse_duration(text).map(Summary::Each),
    }
}

/// Which events are wanted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filter (all that are given, any value of each)")]
pub(crate) struct FilterArguments {
    /// Of these types: agent, capture, debug, drop, l7, policy-verdict, recorder, trace, trace-sock
    #[arg(short = 't', long = "type", env = "NETGLASS_TYPE", value_name = "TYPE")]
    #[arg(value_delimiter = ',', value_parser = parse_type)]
    types: Vec<MessageType>,

    /// From these endpoints
    #[arg(long, env = "NETGLASS_MONITOR_FROM", value_name = "ID", value_delimiter = ',')]
    from: Vec<u16>,

    /// To these endpoints
    #[arg(long, env = "NETGLASS_MONITOR_TO", value_name = "ID", value_delimiter = ',')]
    to: Vec<u16>,

    /// From or to these endpoints
    #[arg(long, env = "NETGLASS_RELATED_TO", value_name = "ID", value_delimiter = ',')]
    related_to: Vec<u16>,

    /// Dropped for these reasons: the number, or the words that are shown
    #[arg(long, env = "NETGLASS_DROP_REASON", value_name = "REASON", value_parser = parse_reason)]
    drop_reason: Vec<Reasons>,

    /// From or to these addresses, or addresses that begin as these: 10.0.0.1, 10.0.0.0/8
    #[arg(long = "addr", env = "NETGLASS_ADDR", value_name = "ADDRESS", value_delimiter = ',')]
    addresses: Vec<AddressPrefix>,

    /// From or to these ports
    #[arg(
        long = "port",
        env = "NETGLASS_MONITOR_PORT",
        value_name = "PORT",
        value_delimiter = ','
    )]
    ports: Vec<u16>,

    /// Of these protocols: tcp, udp, sctp, icmp, or a number
    #[arg(long = "proto", env = "NETGLASS_PROTO", value_name = "PROTOCOL", value_delimiter = ',')]
    protocols: Vec<Protocol>,

    /// Received then or later, where it is known when: a time stamp, or how long ago
    #[arg(long, env = "NETGLASS_SINCE", value_name = "WHEN")]
    since: Option<Moment>,
}

fn parse_type(text: &str) -> Result<MessageType, String> {
    MessageType::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = MessageType::ALL.iter().map(|kind| kind.name()).collect();
        format!("there is no such type; there are {}", names.join(", "))
    })
}

/// The numbers that a drop reason has.
#[derive(Debug, Clone)]
struct Reasons {
    of_cilium: Vec<u8>,
    /// As the kernel names it, or a number.
    of_kernel: String,
}

fn parse_reason(text: &str) -> Result<Reasons, String> {
    let of_kernel = text.trim_start_matches("SKB_DROP_REASON_").to_owned();
    if text.parse::<u32>().is_ok() {
        let of_cilium = text.parse().into_iter().collect();
        return Ok(Reasons { of_cilium, of_kernel });
    }
    let of_cilium = drop_reasons(text);
    let is_of_kernel =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if of_cilium.is_empty() && !of_kernel.bytes().all(is_of_kernel) {
        return Err("neither the number of a drop reason nor its words".to_owned());
    }
    Ok(Reasons { of_cilium, of_kernel })
}

impl LineArguments {
    /// What is shown, and how.
    pub(super) fn options(&self) -> Options {
        let style = match self.compat {
            Some(Compatible::V1_5) => Style::V1_5,
            Some(Compatible::V1_20) => Style::V1_20,
            None => Style::Netglass(self.cilium_version),
        };
        let level = match (self.compat, self.verbose) {
            _ if self.json => Level::Json,
            // That is what Cilium makes of more than it knows.
            (_, 0) | (Some(Compatible::V1_20), 3..) => Level::Info,
            (None | Some(Compatible::V1_20), 1) => Level::Debug,
            _ => Level::Verbose,
        };
        Options { style, level, hex: self.hex, numeric: self.numeric }
    }

    /// Whether a recording goes where lines would.
    pub(super) fn takes_standard_output(&self) -> bool {
        self.recording.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// Fails if two things would be written to the same place.
    pub(super) fn check(&self, source: &SourceArguments) -> Result<(), UsageError> {
        if self.compat.is_some() && source.kernel.kernel {
            return Err(UsageError(
                "Cilium has no lines for what the kernel tells (--kernel): leave out --compat"
                    .to_owned(),
            ));
        }
        if self.cilium_version.is_some() && source.kernel.kernel {
            return Err(UsageError(
                "what the kernel tells (--kernel) is of no release of Cilium: leave out \
                 --cilium-version"
                    .to_owned(),
            ));
        }
        if self.takes_standard_output() && self.summary.is_some() {
            return Err(UsageError(
                "standard output is where the recording goes (-w -), and cannot take the summary, \
                 too: name a file"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl FilterArguments {
    /// What is wanted, when the present is `now`.
    pub(super) fn criteria(&self, now: Timestamp) -> Criteria {
        Criteria {
            types: self.types.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            related_to: self.related_to.clone(),
            drop_reasons: self.drop_reason.iter().flat_map(|it| it.of_cilium.clone()).collect(),
            kernel_reasons: self.drop_reason.iter().map(|it| it.of_kernel.clone()).collect(),
            addresses: self.addresses.clone(),
            ports: self.ports.clone(),
            protocols: self.protocols.clone(),
            since: self.since.map(|since| since.at(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_made_at_the_end_or_at_an_interval() {
        assert_eq!(parse_summary("end"), Ok(Summary::End));
        assert_eq!(parse_summary("10"), Ok(Summary::Each(Duration::from_secs(10))));
        assert_eq!(parse_summary("1m"), Ok(Summary::Each(Duration::from_secs(60))));
        assert!(parse_summary("0").is_err() && parse_summary("often").is_err());
    }

    #[test]
    fn a_drop_reason_has_words_or_a_number() {
        let of_cilium = |text| parse_reason(text).unwrap().of_cilium;
        assert_eq!(of_cilium("133"), [133]);
        assert_eq!(of_cilium("policy DENIED"), [133]);
        assert_eq!(of_cilium("Invalid packet"), [2, 134]);
        let of_kernel = |text| parse_reason(text).unwrap().of_kernel;
        assert_eq!(of_kernel("SKB_DROP_REASON_NO_SOCKET"), "NO_SOCKET");
        assert_eq!(of_kernel("131072"), "131072");
        assert!(parse_reason("because").is_err() && parse_reason("-1").is_err());
    }
}
