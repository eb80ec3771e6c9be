//! What `probe` and `up` ask in common.

use std::time::Duration;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use netglass_kernel::{Limits, OwnerSource, ScanOptions, Selection, SocketSource};
#[cfg(feature = "ebpf")]
use netglass_kernel::{Sizes, StreamOptions};
use netglass_model::AddressScope;

use crate::time::parse_duration;

/// How sockets are looked at.
#[derive(Debug, Args)]
pub(crate) struct ScanArguments {
    /// How connections are found
    #[arg(long, env = "NETGLASS_MODE", value_name = "MODE", default_value = "auto")]
    pub(super) mode: Mode,

    /// Time from one scan or collection to the next
    #[arg(long, env = "NETGLASS_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = parse_duration)]
    pub(crate) interval: Duration,

    /// All network namespaces of this host, rather than the one that netglass runs in
    #[arg(long, env = "NETGLASS_ALL_NAMESPACES", value_parser = BoolishValueParser::new())]
    all_namespaces: bool,

    /// What becomes of connections over loopback
    #[arg(long, env = "NETGLASS_LOOPBACK", value_name = "WHAT", default_value = "include")]
    loopback: Loopback,

    /// Which peers are kept, by their address
    #[arg(long, env = "NETGLASS_FILTER", value_name = "SCOPE", default_value = "all")]
    filter: Filter,

    /// How sockets are listed when they are polled
    #[arg(long, env = "NETGLASS_SOCKETS", value_name = "SOURCE", default_value = "auto")]
    sockets: Sockets,

    /// How the processes that hold sockets are found when they are polled
    #[arg(long, env = "NETGLASS_OWNERS", value_name = "SOURCE", default_value = "auto")]
    owners: Owners,

    /// Most flows (and listeners, and processes) held between two flushes
    #[arg(long, env = "NETGLASS_MAX_FLOWS", value_name = "N", default_value = "262144")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_flows: u32,

    /// Most sockets told apart from one scan to the next, and whose processes are known
    #[arg(long, env = "NETGLASS_MAX_SOCKETS", value_name = "N", default_value = "1048576")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_sockets: u32,

    /// Most flows between two collections when streaming [default: by this host's memory]
    #[arg(long, env = "NETGLASS_MAX_KERNEL_FLOWS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    max_kernel_flows: Option<u32>,

    /// Most TCP connections at a time that streaming follows in the fastest way [default: by this
    /// host's memory]
    #[arg(long, env = "NETGLASS_MAX_KERNEL_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    max_kernel_connections: Option<u32>,

    /// Most conversations of unconnected UDP sockets told apart when streaming [default: by this
    /// host's memory]
    #[arg(long, env = "NETGLASS_MAX_CONVERSATIONS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    max_conversations: Option<u32>,

    /// Bytes for the details of processes between two collections when streaming [default: by this
    /// host's memory]
    #[arg(long, env = "NETGLASS_PROCESS_BUFFER", value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(4096..=1_073_741_824))]
    process_buffer: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Streaming, and polling where that fails
    Auto,
    /// Watch all sockets with kernel programs (eBPF), however short they live
    Streaming,
    /// Scan all sockets again and again
    Polling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loopback {
    /// Keep them
    Include,
    /// Skip them, and count them in the ledger
    Exclude,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Filter {
    /// Every peer
    All,
    /// Peers at addresses of the public internet
    Public,
    /// Peers at private, link-local and loopback addresses
    Private,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sockets {
    /// Netlink, and /proc/net where that fails
    Auto,
    /// `sock_diag` over netlink alone
    Netlink,
    /// /proc/net alone: tells neither bytes nor round trip times
    Procfs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Owners {
    /// The kernel's iterator over open files, and /proc/*/fd where that fails
    Auto,
    /// The kernel's iterator (eBPF) alone
    TaskFile,
    /// /proc/*/fd alone
    Procfs,
}

impl ScanArguments {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            all_namespaces: self.all_namespaces,
            loopback: self.loopback == Loopback::Include,
            scope: match self.filter {
                Filter::All => AddressScope::All,
                Filter::Public => AddressScope::Public,
                Filter::Private => AddressScope::Private,
            },
        }
    }

    pub(super) fn scan_options(&self) -> ScanOptions {
        ScanOptions {
            selection: self.selection(),
            sockets: match self.sockets {
                Sockets::Auto => SocketSource::Auto,
                Sockets::Netlink => SocketSource::Netlink,
                Sockets::Procfs => SocketSource::Procfs,
            },
            owners: match self.owners {
                Owners::Auto => OwnerSource::Auto,
                Owners::TaskFile => OwnerSource::TaskFile,
                Owners::Procfs => OwnerSource::Procfs,
            },
        }
    }

    #[cfg(feature = "ebpf")]
    pub(super) fn stream_options(&self) -> StreamOptions {
        let of_host = Sizes::of_host();
        let sizes = Sizes {
            flows: self.max_kernel_flows.unwrap_or(of_host.flows),
            connections: self.max_kernel_connections.unwrap_or(of_host.connections),
            conversations: self.max_conversations.unwrap_or(of_host.conversations),
            process_buffer: self.process_buffer.unwrap_or(of_host.process_buffer),
        };
        StreamOptions { selection: self.selection(), sizes }
    }

    pub(super) fn limits(&self) -> Limits {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits { flows: size(self.max_flows), sockets: size(self.max_sockets) }
    }
}
