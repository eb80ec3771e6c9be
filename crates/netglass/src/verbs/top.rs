//! `netglass top`: the processes that use the network, by how much.

use clap::Args;

use crate::{
    streaming::FilterArguments,
    top::{self, TopArguments},
};

/// Shows the processes that use the network, by throughput, and the connections of each
///
/// A full screen that is renewed each second. What processes send and receive, which calls they make
/// and how those fail is added up in the kernel; of connections the kernel tells state, round trip
/// time, retransmissions and queues. ? shows the keys, q ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass top                          all processes of this host
  netglass top --comm nginx,postgres    of these names
  netglass top --sort errors --errors   whose calls fail
  netglass top --family all             on Unix, netlink and other sockets, too
  netglass top --once --format json     one second, for programs")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: FilterArguments,

    #[command(flatten)]
    showing: TopArguments,
}

/// Shows processes until it is told to end.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    top::run(&arguments.selection, &arguments.showing)
}
