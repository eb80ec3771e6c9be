//! What is captured, how it is put together, and what is told of that.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use netglass_flow::Settings;
use netglass_packet::Tunnels;

use crate::{bytes::parse_bytes, time::parse_duration, usage::UsageError};

/// Where packets come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Packets")]
pub(crate) struct InputArguments {
    /// Interface to capture on: a name, a pattern as in 'eth*', or any for all; several may be named
    #[arg(short = 'i', long = "interface", env = "NETGLASS_INTERFACE", value_name = "INTERFACE")]
    #[arg(value_delimiter = ',')]
    pub(super) interfaces: Vec<String>,

    /// File to read instead: pcap or pcapng, also packed with gzip or zstd; - is standard input;
    /// several are read one after the other
    #[arg(short = 'r', long = "read", env = "NETGLASS_READ", value_name = "FILE", num_args = 1)]
    pub(super) files: Vec<PathBuf>,

    /// Who counts packets
    #[arg(long, env = "NETGLASS_ENGINE", value_name = "ENGINE", default_value = "ring")]
    pub(super) engine: Engine,

    /// Which packets, in tcpdump's language (pcap-filter(7)); all without
    #[arg(value_name = "FILTER", env = "NETGLASS_CAPTURE_FILTER", trailing_var_arg = true)]
    pub(super) filter: Vec<String>,

    /// Take only packets from and to this host, as far as the interfaces can tell
    #[arg(long, env = "NETGLASS_NO_PROMISCUOUS", value_parser = BoolishValueParser::new())]
    pub(super) no_promiscuous: bool,

    /// How many bytes of a packet are captured at most
    #[arg(long = "snaplen", env = "NETGLASS_SNAPLEN", value_name = "BYTES")]
    #[arg(default_value = "262144", value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(super) snapshot_length: u32,

    /// How much the kernel keeps for us of each interface, until we take it
    #[arg(long, env = "NETGLASS_BUFFER_SIZE", value_name = "SIZE", default_value = "32MiB")]
    #[arg(value_parser = parse_bytes)]
    pub(super) buffer_size: u64,

    /// Most conversations between two collections from the kernel, with --engine kernel [default: by
    /// this host's memory]
    #[arg(long, env = "NETGLASS_MAX_KERNEL_FLOWS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(super) max_kernel_flows: Option<u32>,

    /// Time from one collection from the kernel to the next, with --engine kernel
    #[arg(long, env = "NETGLASS_COLLECT_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = parse_duration)]
    pub(super) collect_interval: Duration,

    /// Look for processes in all network namespaces of this host, such as those of containers
    #[arg(long, env = "NETGLASS_ALL_NAMESPACES", value_parser = BoolishValueParser::new())]
    pub(super) all_namespaces: bool,
}

/// Who counts packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// This program, which takes each packet from memory that it shares with the kernel
    Ring,
    /// The kernel, with programs at the interfaces (tcx, Linux 6.6): no packet leaves it, so
    /// there is no filter, none to write, and nothing of what is inside of tunnels
    Kernel,
}

/// How packets are put together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Conversations")]
pub(crate) struct FlowArguments {
    /// For how long nothing comes of a conversation that has ended
    #[arg(long, env = "NETGLASS_TIMEOUT", value_name = "DURATION", default_value = "120s")]
    #[arg(value_parser = parse_duration)]
    timeout: Duration,

    /// Log a conversation that goes on each time it has lasted for so long
    #[arg(long, env = "NETGLASS_ACTIVE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = parse_duration)]
    active_timeout: Option<Duration>,

    /// Whether a conversation of TCP ends when its connection is closed
    #[arg(long, env = "NETGLASS_TCP_CLOSE", value_name = "BOOL", default_value = "true")]
    #[arg(action = clap::ArgAction::Set, value_parser = BoolishValueParser::new())]
    tcp_close: bool,

    /// How many conversations go on at the same time at most; then the longest idle one is logged
    #[arg(long, env = "NETGLASS_MAX_FLOWS", value_name = "N", default_value = "1048576")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_flows: u32,

    /// Whose addresses those of a tunneled packet are (GRE, VXLAN, Geneve, IP in IP)
    #[arg(long, env = "NETGLASS_TUNNELS", value_name = "WHICH", default_value = "outer")]
    tunnels: TunnelAddresses,

    /// With 2, another thread puts most packets together, and writes what this one has no time for: less
    /// time, and a little more work
    #[arg(long, env = "NETGLASS_THREADS", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(super) threads: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TunnelAddresses {
    /// Those of the tunnel
    Outer,
    /// Those of what goes through it
    Inner,
}

impl FlowArguments {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            idle_timeout: self.timeout,
            active_timeout: self.active_timeout,
            tcp_close: self.tcp_close,
            max_flows: usize::try_from(self.max_flows).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn tunnels(&self) -> Tunnels {
        match self.tunnels {
            TunnelAddresses::Outer => Tunnels::Outer,
            TunnelAddresses::Inner => Tunnels::Inner,
        }
    }
}

/// What is told while it goes on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub(crate) struct ReportArguments {
    /// Tell each time after so long on standard error how much comes, what is lost, and what waits
    #[arg(long, env = "NETGLASS_STATS_INTERVAL", value_name = "DURATION")]
    #[arg(value_parser = parse_duration)]
    pub(super) stats_interval: Option<Duration>,

    /// How that and the ledger are written
    #[arg(long, env = "NETGLASS_STATS_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(super) stats_format: ReportFormat,
}

/// How reports are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Lines to be read by people
    Text,
    /// One JSON object a line
    Json,
}

impl InputArguments {
    /// Fails unless packets come from somewhere, and from one kind of thing.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        match (self.interfaces.is_empty(), self.files.is_empty()) {
            (true, true) => Err(UsageError(
                "nothing says where packets come from: name an interface with -i (any for all of \
                 them) or a file with -r"
                    .to_owned(),
            )),
            (false, false) => Err(UsageError(
                "packets come from interfaces (-i) or from files (-r), not from both".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// The filter as one expression.
    pub(super) fn filter(&self) -> String {
        self.filter.join(" ")
    }
}
