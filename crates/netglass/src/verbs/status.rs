//! `netglass status`: which hosts report, and how their probes fare.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::bail;
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use netglass_model::Timestamp;

use crate::{
    database::DatabaseArguments,
    fleet::{Run, State, assess},
    output::status,
    time::parse_duration,
};

/// Shows the hosts that report, and those that no longer do
///
/// For each probe: since when it runs, when its last flush was made, what waits on its disk for the
/// database, and its ledger: what became of all that it has seen.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 no probe is silent, 1 one is, or something failed, 2 wrong usage.

Examples:
  netglass status
  netglass status --db sqlite:/srv/netglass.db --silent-after 10m
  netglass status > /dev/null || echo 'some host is silent'
  netglass status --format json | jq --raw-output 'select(.state == \"silent\").host'")]
pub(crate) struct Arguments {
    /// How long a probe may not be heard of before it is silent; more than its --flush-interval
    #[arg(long, env = "NETGLASS_SILENT_AFTER", value_name = "DURATION", default_value = "2m")]
    #[arg(value_parser = parse_duration)]
    silent_after: Duration,

    /// Show earlier runs of the probes too
    #[arg(long, env = "NETGLASS_ALL", value_parser = BoolishValueParser::new())]
    all: bool,

    /// How the answer is written
    #[arg(long, env = "NETGLASS_STATUS_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, to be read by people
    Text,
    /// One JSON object a line, with a documented and versioned schema
    Json,
}

/// Shows the probes; the status says whether one is silent.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<ExitCode> {
    let probes = database.open_to_read()?.probes()?;
    if probes.is_empty() {
        bail!(
            "no probe has reported to {} yet; run `netglass probe` or `netglass up`",
            database.url()?
        );
    }
    let now = Timestamp::from(SystemTime::now());
    let runs = assess(&probes, now, arguments.silent_after);
    let shown: Vec<&Run> = runs.iter().filter(|run| run.is_current || arguments.all).collect();
    let stdout = io::stdout().lock();
    match arguments.format {
        Format::Text => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
            status::write_text(&shown, now, arguments.silent_after, &mut out)?;
            out.flush()?;
        }
        Format::Json => {
            let mut out = BufWriter::new(stdout);
            status::write_json(&shown, &mut out)?;
            out.flush()?;
        }
    }
    let silent = runs.iter().any(|run| run.state == State::Silent);
    Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
