//! `netglass probe`.

use clap::Args;

use crate::database::DatabaseArguments;

/// Watches the sockets of this host and keeps what it sees in the database
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netglass probe")]
pub(crate) struct Arguments {}

/// Does it.
pub(crate) fn run(_arguments: &Arguments, _database: &DatabaseArguments) -> anyhow::Result<()> {
    anyhow::bail!("probe is not there yet")
}
