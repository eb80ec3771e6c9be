//! Which calls are streamed, and how they are written.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use netglass_kernel::calls::{CallSums, MOST_PAYLOAD};
use netglass_model::CallName;

use super::delivery::Delivery;
#[cfg(feature = "kafka")]
use super::kafka::KafkaArguments;
use crate::{bytes::parse_bytes, time::parse_duration, usage::UsageError};

/// Which calls.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct FilterArguments {
    /// Only calls of these processes
    #[arg(short = 'p', long, env = "NETGLASS_PID", value_name = "PID", value_delimiter = ',')]
    pub(super) pid: Vec<u32>,

    /// No calls of these processes
    #[arg(long, env = "NETGLASS_NOT_PID", value_name = "PID", value_delimiter = ',')]
    pub(super) not_pid: Vec<u32>,

    /// Only calls of processes with these names, of which the first 15 bytes count
    #[arg(long, env = "NETGLASS_COMM", value_name = "NAME", value_delimiter = ',')]
    pub(super) comm: Vec<String>,

    /// No calls of processes with these names
    #[arg(long, env = "NETGLASS_NOT_COMM", value_name = "NAME", value_delimiter = ',')]
    pub(super) not_comm: Vec<String>,

    /// Only calls of these users, by name or number
    #[arg(long, env = "NETGLASS_UID", value_name = "USER", value_delimiter = ',')]
    pub(super) uid: Vec<String>,

    /// Only calls of processes in these control groups, or below them: paths in the hierarchy of
    /// version 2
    #[arg(long, env = "NETGLASS_CGROUP", value_name = "PATH", value_delimiter = ',')]
    pub(super) cgroup: Vec<PathBuf>,

    /// Only calls of processes in these containers, by what their ids begin with
    #[arg(long, env = "NETGLASS_CONTAINER", value_name = "ID", value_delimiter = ',')]
    pub(super) container: Vec<String>,

    /// Only calls on sockets of these network namespaces: a name of `ip netns`, a file, or an inode
    /// number
    #[arg(long, env = "NETGLASS_NETNS", value_name = "NAMESPACE", value_delimiter = ',')]
    pub(super) netns: Vec<String>,

    /// Only calls with one of these ports at either end
    #[arg(short = 'P', long, env = "NETGLASS_PORT", value_name = "PORT", value_delimiter = ',')]
    pub(super) port: Vec<u16>,

    /// Only calls with an address of one of these networks at either end
    #[arg(long, env = "NETGLASS_ADDR", value_name = "CIDR", value_delimiter = ',')]
    #[arg(value_parser = parse_network)]
    pub(super) addr: Vec<(IpAddr, u8)>,

    /// Only these calls, by their names
    #[arg(long, env = "NETGLASS_CALL", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = parse_call)]
    pub(super) call: Vec<CallName>,

    /// Only calls that fail
    #[arg(long, env = "NETGLASS_ERRORS", value_parser = BoolishValueParser::new())]
    pub(super) errors: bool,

    /// Calls on sockets of IPv4 and IPv6, beside those of --family; the default where there is no
    /// --family
    #[arg(long, env = "NETGLASS_NET", value_parser = BoolishValueParser::new())]
    pub(super) net: bool,

    /// Calls on sockets of these families
    #[arg(long, env = "NETGLASS_FAMILY", value_name = "FAMILY", value_delimiter = ',')]
    pub(super) family: Vec<Family>,

    /// Calls that wait for several descriptors, too: poll, select, epoll and the like
    #[arg(long, env = "NETGLASS_WAIT", value_parser = BoolishValueParser::new())]
    pub(super) wait: bool,

    /// Calls of the selected processes' children, too; of a COMMAND they always are
    #[arg(long, env = "NETGLASS_CHILDREN", value_parser = BoolishValueParser::new())]
    pub(super) children: bool,
}

/// Which calls, or those of a command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArguments {
    #[command(flatten)]
    pub(super) filters: FilterArguments,

    /// Only calls of this command, which is run, and of its children
    #[arg(value_name = "COMMAND", env = "NETGLASS_COMMAND", last = true)]
    pub(super) command: Vec<OsString>,
}

/// How calls are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct WritingArguments {
    /// How calls are written
    #[arg(long, env = "NETGLASS_STREAM_FORMAT", value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,

    /// File to write to, rather than standard output
    #[arg(short = 'o', long = "output-file", env = "NETGLASS_OUTPUT_FILE", value_name = "FILE")]
    pub(super) output_file: Option<PathBuf>,

    /// Write each call twice: when it begins, and when it returns
    #[arg(long, env = "NETGLASS_PHASES", value_parser = BoolishValueParser::new())]
    pub(super) phases: bool,

    /// Write the first bytes of what is sent and received, too, as hexadecimal digits and as text. They
    /// may be passwords, keys or other secrets: whoever reads what is written reads those
    #[arg(long, env = "NETGLASS_PAYLOAD", value_name = "BYTES", default_value = "0")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_PAYLOAD)))]
    pub(super) payload: u32,

    /// How much the kernel keeps for us of what is not written yet
    #[arg(long, env = "NETGLASS_BUFFER_SIZE", value_name = "SIZE", default_value = "64MiB")]
    #[arg(value_parser = parse_bytes)]
    pub(super) buffer_size: u64,

    /// What becomes of calls that come faster than they can be written
    #[arg(long, env = "NETGLASS_ON_OVERLOAD", value_name = "WHAT", default_value = "drop")]
    pub(super) on_overload: OnOverload,

    #[cfg(feature = "kafka")]
    #[command(flatten)]
    kafka: KafkaArguments,
}

impl WritingArguments {
    /// Who is to take calls, rather than a file.
    #[cfg_attr(
        not(feature = "kafka"),
        expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "nobody can")
    )]
    pub(super) fn delivery(&self) -> anyhow::Result<Option<Box<dyn Delivery>>> {
        #[cfg(feature = "kafka")]
        if let Some(delivery) = self.kafka.delivery()? {
            if self.on_overload == OnOverload::Aggregate || self.format != Format::Table {
                let reason = "--kafka has calls one by one and a format of its own: leave out \
                              --on-overload aggregate and --format";
                return Err(UsageError(reason.to_owned()).into());
            }
            return Ok(Some(delivery));
        }
        Ok(None)
    }
}

/// What is added up rather than written call by call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct SummaryArguments {
    /// Write no calls but, in intervals or at the end, who talked to whom, with calls, bytes, errors
    /// and how long calls took; with --db it is stored, too
    #[arg(long, env = "NETGLASS_SUMMARY", value_name = "INTERVAL", num_args = 0..=1)]
    #[arg(default_missing_value = "end", value_parser = parse_interval)]
    pub(super) summary: Option<Interval>,

    /// How many connections and kinds of calls the kernel can add up at a time: between two
    /// collections of --summary, which are a second apart at most, and of --on-overload aggregate
    #[arg(long, env = "NETGLASS_MAX_SUMS", value_name = "NUMBER")]
    #[arg(default_value_t = CallSums::MOST)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    pub(super) max_sums: u32,
}

/// When a summary is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interval {
    /// At the end alone.
    End,
    /// Each time after so long, and at the end.
    Each(Duration),
}

/// What becomes of calls that come faster than they can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnOverload {
    /// They are lost, and counted
    Drop,
    /// They are added up in the kernel until there are fewer
    Aggregate,
}

impl SummaryArguments {
    /// Refuses options that have no meaning together.
    pub(super) fn check(&self, writing: &WritingArguments) -> Result<(), UsageError> {
        let adds_up = writing.on_overload == OnOverload::Aggregate;
        let what = match (self.summary, adds_up) {
            (Some(_), _) => "--summary",
            (None, true) => "--on-overload aggregate",
            (None, false) => return Ok(()),
        };
        let is_separated = matches!(writing.format, Format::Csv | Format::Tsv);
        let refused = [
            (writing.phases, "--phases tells of calls twice"),
            (is_separated, "its output has no such columns: it is a table or JSON"),
            (self.summary.is_some() && writing.payload > 0, "--payload tells of each call"),
            (self.summary.is_some() && adds_up, "it adds up all calls anyway"),
        ];
        match refused.into_iter().find(|(is_refused, _)| *is_refused) {
            Some((_, why)) => Err(UsageError(format!("{what} cannot be had with that: {why}"))),
            None => Ok(()),
        }
    }
}

/// A format in which calls can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns, to be read by people
    Table,
    /// One JSON object a line, with a documented and versioned schema
    Json,
    /// Comma-separated values (RFC 4180) with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
}

/// A family of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Family {
    /// `AF_INET`
    Inet,
    /// `AF_INET6`
    Inet6,
    /// `AF_UNIX`
    Unix,
    /// `AF_NETLINK`
    Netlink,
    /// `AF_PACKET`
    Packet,
    /// `AF_VSOCK`
    Vsock,
    /// Every one
    All,
}

impl Family {
    /// Its number in `linux/socket.h`; none stands for all.
    pub(super) const fn number(self) -> Option<u16> {
        match self {
            Self::Unix => Some(1),
            Self::Inet => Some(2),
            Self::Inet6 => Some(10),
            Self::Netlink => Some(16),
            Self::Packet => Some(17),
            Self::Vsock => Some(40),
            Self::All => None,
        }
    }
}

fn parse_interval(text: &str) -> Result<Interval, String> {
    match text.trim() {
        "end" => Ok(Interval::End),
        text => parse_duration(text).map(Interval::Each),
    }
}

fn parse_call(text: &str) -> Result<CallName, String> {
    CallName::from_name(text.trim()).ok_or_else(|| {
        let names: Vec<_> = CallName::ALL.iter().map(|call| call.name()).collect();
        format!("no call that is followed; those are {}", names.join(", "))
    })
}

/// Understands `10.0.0.0/8`, `fe80::/10` and an address alone.
fn parse_network(text: &str) -> Result<(IpAddr, u8), String> {
    const EXPECTED: &str = "not a network: give an address, or one with the number of its bits \
                            that count, like 10.0.0.0/8 or 2001:db8::/32";
    let (address, bits) = text
        .trim()
        .split_once('/')
        .map_or((text.trim(), None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| EXPECTED.to_owned())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse::<u8>).map_err(|_| EXPECTED.to_owned())?;
    if bits > most {
        Err(format!("{address} has {most} bits, not {bits}"))
    } else {
        Ok((address, bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_an_address_and_bits() {
        let network = |text| parse_network(text).map(|(address, bits)| (address.to_string(), bits));
        assert_eq!(network("10.0.0.0/8"), Ok(("10.0.0.0".to_owned(), 8)));
        assert_eq!(network("::1"), Ok(("::1".to_owned(), 128)));
        assert!(network("10.0.0.0/33").unwrap_err().contains("32 bits"));
        for text in ["", "10", "10.0.0.0/", "10.0.0.0/x", "/8"] {
            assert!(network(text).unwrap_err().contains("not a network"), "{text}");
        }
    }

    #[test]
    fn a_summary_is_of_the_end_or_of_an_interval() {
        assert_eq!(parse_interval("end"), Ok(Interval::End));
        assert_eq!(parse_interval("5s"), Ok(Interval::Each(Duration::from_secs(5))));
        assert!(parse_interval("5").is_err());
    }

    #[test]
    fn calls_go_by_their_names() {
        assert_eq!(parse_call("accept4"), Ok(CallName::Accept4));
        assert!(parse_call("open").unwrap_err().contains("connect, accept"));
    }
}
