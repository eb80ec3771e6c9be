//! `netglass explain`: which way the packets of a connection go, and where they end.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};

use crate::{
    explaining::{self, Target},
    time::parse_duration,
};

/// Shows which way the packets of a connection go: interfaces, translated addresses, drops and why
///
/// What the kernel tells of packets for a while, in all network namespaces of this host, is put together
/// into one path for each connection, with what connection tracking knows of its addresses.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass explain 10.0.0.7                        all connections of an address, for ten seconds
  netglass explain 10.0.0.7:443 --for 1m           of a service
  netglass explain 10.0.0.2:40000-10.0.0.7:443     a connection, by either of its sides
  netglass explain '[fd00::7]:443' -j              as JSON")]
pub(crate) struct Arguments {
    /// An address, with a port or without one, or both ends of a connection with a hyphen between them
    #[arg(value_name = "ADDRESS|CONNECTION", env = "NETGLASS_EXPLAIN")]
    target: Target,

    /// For how long packets are looked at; SIGINT ends it before
    #[arg(long = "for", env = "NETGLASS_FOR", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    lasts: Duration,

    /// In these network namespaces alone: names as of `ip netns`, or inodes
    #[arg(long = "netns", env = "NETGLASS_NETNS", value_name = "NAMESPACE", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Show one JSON object a line
    #[arg(short, long, env = "NETGLASS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// Looks at packets for a while, and shows their ways.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    explaining::run(arguments.target, &arguments.namespaces, arguments.lasts, arguments.json)
}
