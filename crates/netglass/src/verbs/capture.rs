//! `netglass capture`: packets to conversations, from interfaces or files.

use clap::Args;

use crate::{
    capturing::{
        self, FlowArguments, InputArguments, OutputArguments, PacketFileArguments, ReportArguments,
    },
    database::DatabaseArguments,
};

/// Captures packets, puts them together into conversations and logs those
///
/// A conversation is what two addresses and ports exchange, in both directions. It is logged when it has
/// been idle for --timeout, when its TCP connection is closed, or when the capture ends: with
/// SIGINT or SIGTERM, or with the last file. The ledger that is printed then on standard error says
/// what became of each packet and of each record; SIGUSR1 prints it at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass capture -i eth0                             conversations of an interface, as they end
  netglass capture -i any 'tcp port 443'               of all interfaces, with a filter of tcpdump's
  netglass capture -r day.pcap.gz --format csv         of a file, for a spreadsheet
  tcpdump -w - | netglass capture -r -                 of what another program captures
  netglass capture -i eth0 --output parquet:/srv/flows --output stdout
  netglass capture -i eth0 --output bigquery --bq-project-id my-project --bq-dataset netglass
  netglass capture -i eth0 -w all.pcapng -C 100 -W 10  packets too, each with its process")]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: InputArguments,

    #[command(flatten)]
    flows: FlowArguments,

    #[command(flatten)]
    outputs: OutputArguments,

    #[command(flatten)]
    packets: PacketFileArguments,

    #[command(flatten)]
    report: ReportArguments,
}

/// Captures until it is told to end, or until all files are read.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    capturing::run(
        &arguments.input,
        &arguments.flows,
        &arguments.outputs,
        &arguments.packets,
        &arguments.report,
        database,
    )
}
