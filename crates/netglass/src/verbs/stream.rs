//! `netglass stream`: every network system call, live, with the process that made it.

use std::process::ExitCode;

use clap::Args;

use crate::{
    database::{DatabaseArguments, StorageArguments},
    streaming::{self, SelectionArguments, SummaryArguments, WritingArguments},
};

/// Shows every system call about a socket, live, with the process that made it and the connection
///
/// Whatever is selected is selected in the kernel. Lists are separated by commas, and options may be
/// repeated. It ends with SIGINT or SIGTERM, or with COMMAND, whose exit status is passed on, and
/// says on standard error what became of each call; SIGUSR1 says so at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: that of COMMAND, 127 where there is none of that name, 126 where it cannot be run; else 0 \
done, 1 failed, 2 wrong usage.

Examples:
  netglass stream                                   all processes of this host
  netglass stream -- wget -q http://example.org/    of one command, from its very first call
  netglass stream --comm nginx --children           a server and its workers
  netglass stream -P 5432 --errors                  what fails on a port
  netglass stream --format json -o calls.json -p 1234
  netglass stream --summary 5s                      who talks to whom, each five seconds
  netglass stream --phases --comm wget              when calls begin, and when they return")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: SelectionArguments,

    #[command(flatten)]
    writing: WritingArguments,

    #[command(flatten)]
    summary: SummaryArguments,

    #[command(flatten, next_help_heading = "Storage")]
    storage: StorageArguments,
}

/// Streams calls until it is told to end.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<ExitCode> {
    let Arguments { selection, writing, summary, storage } = arguments;
    streaming::run(selection, writing, summary, (database, storage))
}
