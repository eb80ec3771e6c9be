//! `netglass up`.

use clap::Args;

use crate::database::DatabaseArguments;

/// Probes this host and shows its live dependency map
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netglass up")]
pub(crate) struct Arguments {}

/// Does it.
pub(crate) fn run(_arguments: &Arguments, _database: &DatabaseArguments) -> anyhow::Result<()> {
    anyhow::bail!("up is not there yet")
}
