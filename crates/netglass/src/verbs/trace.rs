//! `netglass trace`: one request, and every network operation behind it.

use std::process::ExitCode;

use clap::Args;

use crate::tracing::{self, Recorded};

/// Makes a request and shows every network operation behind it
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  netglass trace https://example.org/")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    recorded: Recorded,
}

/// Makes the requests.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    tracing::run_recorded(&arguments.recorded)?;
    Ok(ExitCode::SUCCESS)
}
