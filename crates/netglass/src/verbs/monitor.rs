//! `netglass monitor`: what the datapath and the agent of Cilium tell, or the kernel itself.

use clap::Args;

use crate::monitoring::{self, FilterArguments, LineArguments, SourceArguments};

/// Shows which way packets go and why they are dropped, as the kernel or Cilium's datapath tells it
///
/// With --kernel it is this host's own kernel that tells, with the processes of packets. Without a source,
/// the sockets of this host's Cilium agent are read. What could not be shown, and what was lost before, is
/// told on standard error at the end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass monitor --kernel                      what this host drops, why, and of which process
  netglass monitor --kernel -i eth0 --port 443   what comes by eth0, too
  netglass monitor                               what Cilium's agent on this host tells
  netglass monitor -t drop                       only drops, each with its reason
  netglass monitor --related-to 1022 -vv         of one endpoint, packets layer by layer
  netglass monitor --addr 10.0.0.0/8 --port 443  of some addresses and a port
  netglass monitor -j -w events.ngm              JSON, and a recording to be read with -r
  netglass monitor -r events.ngm --summary       drops by reason, interface and connection
  netglass monitor --compat 1.5 -v               the lines of Cilium 1.5, byte for byte")]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,

    #[command(flatten)]
    lines: LineArguments,

    #[command(flatten)]
    filter: FilterArguments,
}

/// Shows events until it is told to end, or until there are no more.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    monitoring::run(&arguments.source, &arguments.lines, &arguments.filter)
}
