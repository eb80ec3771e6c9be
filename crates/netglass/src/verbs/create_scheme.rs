//! `netglass create-scheme`: makes the database ready before anything writes to it.

use std::io::{self, Write as _};

use clap::Args;
use netglass_store::{DatabaseUrl, Settings};

use crate::database::DatabaseArguments;

/// Creates the database with its schema, or brings an older schema up to date
///
/// Verbs that write do the same by themselves where it is needed; this one does nothing else, so
/// that it can be done beforehand, and by another user.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass create-scheme
  netglass create-scheme --db sqlite:/srv/netglass.db")]
pub(crate) struct Arguments {}

/// Creates or migrates the schema, and says which.
pub(crate) fn run(_arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    let url = database.url()?;
    let existed = match &url {
        DatabaseUrl::Sqlite(path) => path.exists(),
        _ => true,
    };
    database.open_to_write(Settings::default())?;
    let mut out = io::stdout().lock();
    if existed {
        writeln!(out, "the schema of {url} is up to date")?;
    } else {
        writeln!(out, "created {url}")?;
    }
    Ok(())
}
